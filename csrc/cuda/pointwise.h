// Matrix products over pixels, exact in float32, for conv1x1 and up_conv2x2.
//
// One of the two blobs is kScale times as large as the other, and a pixel (h, w) of the small one
// meets the kScale x kScale pixels, taps, of the large one that begin at (kScale*h, kScale*w). So
// conv1x1 has kScale 1 and one tap, up_conv2x2 has 2 and four.
//
//                    rows            columns     common dimension   A          B
//   forward          pixels of       taps x OC   IC                 bottom     weight
//                    bottom
//   backward_data    pixels of       IC          taps x OC          top_diff   weight, transposed
//                    bottom_diff
//
// A block takes one tile of the product (cuda/gemm.h). The columns of a tile may belong to several
// taps; its store scatters each to its pixel of the top, adds the bias and applies the ReLU.
//
// backward_weights is in pointwise_weights.h.
//
// Cost: 2*taps*IC*OC operations a pixel of the small blob, for each pass.
#pragma once

#include <type_traits>

#include "core/activation.h"
#include "cuda/check.h"
#include "cuda/gemm.h"
#include "cuda/reduce.h"

namespace unet::UNET_GPU {
namespace {

// The pixels of the small blob, row after row, image after image.
struct Pixels {
  int count, h, w;

  template <class T>
  UNET_HOST_DEVICE explicit Pixels(const BasicView<T>& small)
      : count(small.n * small.h * small.w), h(small.h), w(small.w) {}
};

// Where the pixel's first tap lies in a blob that is kScale times as large.
template <int kScale, class T>
__device__ __forceinline__ T* first_tap(const BasicView<T>& blob, const Pixels& pixels, int pixel) {
  const int row = pixel / pixels.w, n = row / pixels.h;
  return blob.pixel(n, kScale * (row - n * pixels.h), kScale * (pixel - row * pixels.w));
}

template <int kScale, class T>
__device__ __forceinline__ std::ptrdiff_t to_tap(const BasicView<T>& blob, int tap) {
  return tap / kScale * blob.row_stride + tap % kScale * blob.pixel_stride;
}

// --- forward and backward_data ---

// A step of A: eight channels of one tap, for the rows (pixels) that a thread brings.
template <int kScale, int Warps, bool kVector>
struct TapLoader {
  using T = Tiling<Warps>;
  ConstView from;
  int quad;
  const float* pixel[T::kQuadsOfA];  // null: past the last one
  float4 value[T::kQuadsOfA];

  __device__ __forceinline__ TapLoader(ConstView from, const Pixels& pixels, int first, int thread)
      : from(from), quad(thread % 2 * 4) {
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      const int row = first + thread / 2 + i * (T::kThreads / 2);
      pixel[i] = row < pixels.count ? first_tap<kScale>(from, pixels, row) : nullptr;
    }
  }

  __device__ __forceinline__ void fetch(int tap, int channel) {
    const std::ptrdiff_t offset = to_tap<kScale>(from, tap) + channel + quad;
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      const int left = pixel[i] != nullptr ? from.c - channel - quad : 0;
      value[i] = load_quad<kVector>(left > 0 ? pixel[i] + offset : from.data, left);
    }
  }

  template <class Stage>
  __device__ __forceinline__ void store(Stage& stage, int thread) const {
    store_rows<T>(stage, value, quad, thread);
  }
};

// A step of B for forward: four columns (tap, output) of one input channel.
template <int kTaps, int Warps, bool kVector>
struct OutputWeights {
  // A quad lies within a tap; single columns may belong to several.
  static constexpr int kPlaces = kVector ? 1 : 4;
  static constexpr int kQuads = Tiling<Warps>::kColumns / 4;
  ConstFilter weight;
  const float* column[kPlaces];  // of channel 0; null: past the last one
  float value[4];

  __device__ __forceinline__ OutputWeights(ConstFilter weight, int first, int thread)
      : weight(weight) {
#pragma unroll
    for (int j = 0; j < kPlaces; ++j) {
      const int c = first + thread % kQuads * 4 + j, tap = c / weight.oc;
      column[j] = tap < kTaps ? weight.data + std::ptrdiff_t(tap) * weight.ic * weight.oc +
                                    (c - tap * weight.oc)
                              : nullptr;
    }
  }

  __device__ __forceinline__ void fetch(int, int channel, int thread) {
    const int k = channel + thread / kQuads;
    const std::ptrdiff_t offset = std::ptrdiff_t(k) * weight.oc;
    if constexpr (kVector) {
      const bool exists = k < weight.ic && column[0] != nullptr;
      spread(load_quad<true>(exists ? column[0] + offset : weight.data, exists), value);
    } else {
#pragma unroll
      for (int j = 0; j < kPlaces; ++j) {
        value[j] = k < weight.ic && column[j] != nullptr ? column[j][offset] : 0.0f;
      }
    }
  }

  template <class Stage>
  __device__ __forceinline__ void store(Stage& stage, int thread) const {
    store4(&stage.b[thread / kQuads][thread % kQuads * 4],
           make_float4(value[0], value[1], value[2], value[3]));
  }
};

// A step of B for backward_data: four outputs of one tap, for one column (input channel).
template <int kTaps, int Warps, bool kVector>
struct InputWeights {
  ConstFilter weight;
  const float* column;  // null: past the last one
  float4 value;

  __device__ __forceinline__ InputWeights(ConstFilter weight, int first, int thread)
      : weight(weight) {
    const int c = first + thread / 2;
    column = c < weight.ic ? weight.data + std::ptrdiff_t(c) * weight.oc : nullptr;
  }

  __device__ __forceinline__ void fetch(int tap, int channel, int thread) {
    const int k = channel + thread % 2 * 4, left = column != nullptr ? weight.oc - k : 0;
    const std::ptrdiff_t offset = std::ptrdiff_t(tap) * weight.ic * weight.oc + k;
    value = load_quad<kVector>(left > 0 ? column + offset : weight.data, left);
  }

  template <class Stage>
  __device__ __forceinline__ void store(Stage& stage, int thread) const {
    float four[4];
    spread(value, four);
#pragma unroll
    for (int k = 0; k < 4; ++k) stage.b[thread % 2 * 4 + k][thread / 2] = four[k];
  }
};

// relu(bias + sum) of a tile to its pixels.
template <int kScale, bool kVector>
__device__ __forceinline__ void store_tile(const ThreadTile& tile, int first_row, int first_column,
                                           const Pixels& pixels, ConstSpan bias, FusedRelu relu,
                                           View to) {
  constexpr int kGroup = kVector ? 4 : 1;
  float* row[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int pixel = first_row + tile.row_of(i);
    row[i] = pixel < pixels.count ? first_tap<kScale>(to, pixels, pixel) : nullptr;
  }
#pragma unroll
  for (int j = 0; j < 8; j += kGroup) {
    const int column = first_column + tile.column_of(j), tap = column / to.c;
    const int channel = column - tap * to.c;
    const bool exists = tap < kScale * kScale;
    const std::ptrdiff_t offset = to_tap<kScale>(to, tap) + channel;
    float addend[kGroup];
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      addend[g] = exists && bias.data != nullptr ? bias.data[channel + g] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float value[kGroup];
#pragma unroll
      for (int g = 0; g < kGroup; ++g) {
        value[g] = tile.sum[i][j + g] + addend[g];
        if (relu.on && !(value[g] > 0.0f)) value[g] *= relu.negative_slope;
      }
      if (!exists || row[i] == nullptr) continue;
      if constexpr (kVector) {
        store4(row[i] + offset, make_float4(value[0], value[1], value[2], value[3]));
      } else {
        row[i][offset] = value[0];
      }
    }
  }
}

// kVector: channels and memory allow for quads everywhere.
template <int kScale, int Warps, bool kBackward, bool kVector>
__global__ void __launch_bounds__(Tiling<Warps>::kThreads)
    multiply_pixels(ConstView from, ConstFilter weight, ConstSpan bias, FusedRelu relu, View to) {
  using T = Tiling<Warps>;
  constexpr int kTaps = kScale * kScale;
  auto& shared = shared_memory<typename T::Shared>();
  const int thread = threadIdx.x;
  const int first_row = blockIdx.x * T::kRows, first_column = blockIdx.y * T::kColumns;
  const Pixels pixels = kBackward ? Pixels(to) : Pixels(from);
  TapLoader<kBackward ? kScale : 1, Warps, kVector> a(from, pixels, first_row, thread);
  std::conditional_t<kBackward, InputWeights<kTaps, Warps, kVector>,
                     OutputWeights<kTaps, Warps, kVector>>
      b(weight, first_column, thread);
  ThreadTile tile(thread);

  const int chunks = (from.c + kDepth - 1) / kDepth, steps = (kBackward ? kTaps : 1) * chunks;
  int tap = 0, chunk = 0;
  const auto fetch = [&] {
    a.fetch(tap, chunk * kDepth);
    b.fetch(tap, chunk * kDepth, thread);
    if (++chunk == chunks) {
      chunk = 0;
      ++tap;
    }
  };
  fetch();
  for (int step = 0; step < steps; ++step) {
    auto& stage = shared.stage[step % 2];
    a.store(stage, thread);
    b.store(stage, thread);
    __syncthreads();
    if (step + 1 < steps) fetch();
    multiply(stage, tile);
  }
  store_tile<kBackward ? 1 : kScale, kVector>(tile, first_row, first_column, pixels, bias, relu,
                                              to);
}

inline bool is_aligned(const float* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

template <int kScale, int Warps, bool kBackward>
void launch_multiply(const Context& ctx, const char* name, ConstView from, ConstFilter weight,
                     ConstSpan bias, FusedRelu relu, View to) {
  using T = Tiling<Warps>;
  const int columns = kBackward ? to.c : kScale * kScale * to.c;
  const ConstView small = kBackward ? ConstView(to) : from;
  const dim3 grid(blocks_for(std::ptrdiff_t(small.n) * small.h * small.w, T::kRows),
                  blocks_for(columns, T::kColumns));
  const bool quads = has_quads(from) && has_quads(to) && is_aligned(weight.data);
  const auto kernel = quads ? multiply_pixels<kScale, Warps, kBackward, true>
                            : multiply_pixels<kScale, Warps, kBackward, false>;
  UNET_CUDA(launch(name, kernel, grid, T::kThreads, sizeof(typename T::Shared), stream_of(ctx),
                   from, weight, bias, relu, to));
}

// Tiles of 128 columns, where there are so many and tiles enough to fill a device.
template <int kScale, bool kBackward>
void multiply_pixels_on(const Context& ctx, const char* name, ConstView from, ConstFilter weight,
                        ConstSpan bias, FusedRelu relu, View to) {
  using Wide = Tiling<2>;
  const int columns = kBackward ? to.c : kScale * kScale * to.c;
  const ConstView small = kBackward ? ConstView(to) : from;
  const std::ptrdiff_t pixels = std::ptrdiff_t(small.n) * small.h * small.w;
  const std::ptrdiff_t tiles =
      std::ptrdiff_t(blocks_for(pixels, Wide::kRows)) * blocks_for(columns, Wide::kColumns);
  const bool wide = columns > Tiling<1>::kColumns && 2 * tiles >= kFillingBlocks;
  const auto launch_with =
      wide ? launch_multiply<kScale, 2, kBackward> : launch_multiply<kScale, 1, kBackward>;
  launch_with(ctx, name, from, weight, bias, relu, to);
}

}  // namespace
}  // namespace unet::UNET_GPU
