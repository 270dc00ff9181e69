// backward_weights of conv1x1 and up_conv2x2, exact in float32: sums of outer products over pixels
// and their taps (cuda/pointwise.h).
//
//   rows   columns     common dimension                              A        B
//   IC     taps x OC   pixels of bottom, in splits of the pixels     bottom   top_diff
//
// A block takes one tile (cuda/gemm.h) of one split, whose columns may belong to several taps;
// splits are added by add_splits (cuda/reduce.h).
//
// Cost: 2*taps*IC*OC operations a pixel of the bottom; 8*taps*IC*OC bytes a split.
#pragma once

#include "cuda/pointwise.h"
#include "cuda/reduce.h"

namespace unet::UNET_GPU {
namespace {

// A pixel of the small blob on its way through a split.
struct PixelWalk {
  int pixel, n, h, w;

  __device__ __forceinline__ PixelWalk(const Pixels& pixels, int pixel) : pixel(pixel) {
    const int row = pixel / pixels.w;
    n = row / pixels.h;
    h = row - n * pixels.h;
    w = pixel - row * pixels.w;
  }
  __device__ __forceinline__ void advance(const Pixels& pixels, int by) {
    pixel += by;
    w += by;
    while (w >= pixels.w) {
      w -= pixels.w;
      if (++h == pixels.h) {
        h = 0;
        ++n;
      }
    }
  }
};

// One tile of weight_diff over a split of the pixels, into partial[split][tap][IC][OC]. A (bottom)
// and B (top_diff) come pixel by pixel, channels in a row: neither is transposed.
template <int kScale, int Warps, bool kVector>
__global__ void __launch_bounds__(Tiling<Warps>::kThreads)
    sum_outer_products(ConstView bottom, ConstView top_diff, int split_pixels, float* partial) {
  using T = Tiling<Warps>;
  constexpr int kTaps = kScale * kScale, kQuads = T::kColumns / 4;
  constexpr int kGroup = kVector ? 4 : 1, kPlaces = 4 / kGroup;
  auto& shared = shared_memory<typename T::Shared>();
  const int thread = threadIdx.x, IC = bottom.c, OC = top_diff.c;
  const int first_row = blockIdx.x * T::kRows, first_column = blockIdx.y * T::kColumns;
  const Pixels pixels(bottom);
  const int begin = blockIdx.z * split_pixels;
  const int end = begin + split_pixels < pixels.count ? begin + split_pixels : pixels.count;
  ThreadTile tile(thread);

  // Where a thread's columns of B lie within the taps of a pixel; negative: past the last one.
  std::ptrdiff_t place[kPlaces];
#pragma unroll
  for (int j = 0; j < kPlaces; ++j) {
    const int column = first_column + thread % kQuads * 4 + j, tap = column / OC;
    place[j] = tap < kTaps ? to_tap<kScale>(top_diff, tap) + (column - tap * OC) : -1;
  }
  PixelWalk at_b(pixels, begin + thread / kQuads);
  PixelWalk at_a(pixels, begin + thread / 32);
  float4 a[T::kQuadsOfA];
  float b[4];
  const auto fetch = [&] {
  // Quads of A: 32 for each of 8 pixels; of B: kQuads.
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      const int channel = first_row + thread % 32 * 4;
      const int left = at_a.pixel < end ? IC - channel : 0;
      a[i] = load_quad<kVector>(
          left > 0 ? bottom.pixel(at_a.n, at_a.h, at_a.w) + channel : bottom.data, left);
      at_a.advance(pixels, T::kThreads / 32);
    }
    const float* p = top_diff.pixel(at_b.n, kScale * at_b.h, kScale * at_b.w);
    if constexpr (kVector) {
      const bool exists = at_b.pixel < end && place[0] >= 0;
      spread(load_quad<true>(exists ? p + place[0] : top_diff.data, exists), b);
    } else {
#pragma unroll
      for (int j = 0; j < kPlaces; ++j) {
        b[j] = at_b.pixel < end && place[j] >= 0 ? p[place[j]] : 0.0f;
      }
    }
    at_b.advance(pixels, kDepth);
  };
  fetch();
  for (int first = begin, step = 0; first < end; first += kDepth, ++step) {
    auto& stage = shared.stage[step % 2];
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      store4(&stage.a[thread / 32 + i * (T::kThreads / 32)][thread % 32 * 4], a[i]);
    }
    store4(&stage.b[thread / kQuads][thread % kQuads * 4], make_float4(b[0], b[1], b[2], b[3]));
    __syncthreads();
    if (first + kDepth < end) fetch();
    multiply(stage, tile);
  }

  float* const to = partial + std::ptrdiff_t(blockIdx.z) * kTaps * IC * OC;
#pragma unroll
  for (int j = 0; j < 8; j += kGroup) {
    const int column = first_column + tile.column_of(j), tap = column / OC;
    float* const first_of_column = to + std::ptrdiff_t(tap) * IC * OC + (column - tap * OC);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int row = first_row + tile.row_of(i);
      if (row >= IC || tap >= kTaps) continue;
      float* const place = first_of_column + std::ptrdiff_t(row) * OC;
      const float* const sum = tile.sum[i] + j;
      if constexpr (kVector) {
        store4(place, make_float4(sum[0], sum[1], sum[2], sum[3]));
      } else {
        *place = *sum;
      }
    }
  }
}

inline bool takes_two_warps(int columns) { return columns > Tiling<1>::kColumns; }

template <int kScale>
Splits outer_product_splits(std::ptrdiff_t pixels, int IC, int OC) {
  using T = Tiling<1>;
  const int columns = kScale * kScale * OC;
  const int width = takes_two_warps(columns) ? 2 * T::kColumns : T::kColumns;
  return split_pixels(pixels, std::ptrdiff_t(blocks_for(IC, T::kRows)) * blocks_for(columns, width),
                      kDepth);
}

// Floats of workspace that backward_weights needs.
template <int kScale>
std::ptrdiff_t outer_product_workspace(std::ptrdiff_t pixels, int IC, int OC) {
  return outer_product_splits<kScale>(pixels, IC, OC).count * std::ptrdiff_t(kScale * kScale) * IC *
         OC;
}

template <int kScale, int Warps>
void launch_outer_products(const Context& ctx, const char* name, ConstView bottom,
                           ConstView top_diff, const Splits& splits, float* partial) {
  using T = Tiling<Warps>;
  const dim3 grid(blocks_for(bottom.c, T::kRows),
                  blocks_for(kScale * kScale * top_diff.c, T::kColumns), unsigned(splits.count));
  const bool quads = has_quads(bottom) && has_quads(top_diff) && is_aligned(partial);
  const auto kernel =
      quads ? sum_outer_products<kScale, Warps, true> : sum_outer_products<kScale, Warps, false>;
  UNET_CUDA(launch(name, kernel, grid, T::kThreads, sizeof(typename T::Shared), stream_of(ctx),
                   bottom, top_diff, splits.pixels, partial));
}

template <int kScale>
void sum_outer_products_on(const Context& ctx, const char* name, ConstView bottom,
                           ConstView top_diff, bool accumulate, float* partial,
                           Filter weight_diff) {
  const Splits splits = outer_product_splits<kScale>(std::ptrdiff_t(bottom.n) * bottom.h * bottom.w,
                                                     bottom.c, top_diff.c);
  const auto launch_with = takes_two_warps(kScale * kScale * top_diff.c)
                               ? launch_outer_products<kScale, 2>
                               : launch_outer_products<kScale, 1>;
  launch_with(ctx, name, bottom, top_diff, splits, partial);
  launch_add_splits(ctx, std::ptrdiff_t(kScale * kScale) * bottom.c * top_diff.c, partial,
                    splits.count, accumulate, weight_diff.data);
}

}  // namespace
}  // namespace unet::UNET_GPU
