// conv3x3 on a GPU: implicit matrix products, exact in float32. No matrix of windows is ever
// written.
//
//                    rows            columns   common dimension     A                        B
//   forward          pixels of top   OC        9 taps x IC          bottom, moved by a tap   weight
//   backward_data    pixels of       IC        9 taps x OC          top_diff, moved back, weight,
//                    bottom_diff                                    0 outside transposed
//   backward_weights IC              OC        pixels of top        bottom, moved top_diff
//                    one product for each tap, in splits of the pixels
//
// A block takes one tile of the product (cuda/gemm.h); the epilogue adds the bias and applies the
// ReLU. Splits of backward_weights leave their sums in the workspace (cuda/reduce.h).
//
// Cost: 2*9*IC*OC operations a pixel. A tile of 128 x 128 reads 256 floats for 16384 multiply-adds.
#include "cuda/check.h"
#include "cuda/conv3x3_few.h"
#include "cuda/gemm.h"
#include "cuda/reduce.h"
#include "ops/conv3x3.h"

namespace unet::UNET_GPU {
namespace {

// --- forward and backward_data ---

// A step of A: eight channels of one tap, for the rows (pixels) that a thread brings.
template <int Warps, bool kBackward, bool kVector>
struct PixelLoader {
  using T = Tiling<Warps>;
  ConstView from;
  const float* pixel[T::kQuadsOfA];  // null: past the last pixel
  int h[T::kQuadsOfA], w[T::kQuadsOfA];
  int quad;
  float4 value[T::kQuadsOfA];

  // `to`: the blob whose pixels are the rows.
  __device__ __forceinline__ PixelLoader(ConstView from, const View& to, int first, int thread)
      : from(from), quad(thread % 2 * 4) {
    const int pixels = to.h * to.w, count = to.n * pixels;
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      const int row = first + thread / 2 + i * (T::kThreads / 2);
      const int n = row / pixels, rest = row - n * pixels;
      h[i] = rest / to.w;
      w[i] = rest - h[i] * to.w;
      pixel[i] = row < count ? from.data + n * from.image_stride : nullptr;
    }
  }

  __device__ __forceinline__ void fetch(int kh, int kw, int channel) {
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      const int fh = kBackward ? h[i] - kh : h[i] + kh, fw = kBackward ? w[i] - kw : w[i] + kw;
      const bool exists =
          pixel[i] != nullptr && (!kBackward || (fh >= 0 && fw >= 0 && fh < from.h && fw < from.w));
      const int left = exists ? from.c - channel - quad : 0;
      value[i] = load_quad<kVector>(
          left > 0 ? pixel[i] + fh * from.row_stride + fw * from.pixel_stride + channel + quad
                   : from.data,
          left);
    }
  }

  template <class Stage>
  __device__ __forceinline__ void store(Stage& stage, int thread) const {
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      float four[4];
      spread(value[i], four);
      const int row = thread / 2 + i * (T::kThreads / 2);
#pragma unroll
      for (int k = 0; k < 4; ++k) stage.a[quad + k][row] = four[k];
    }
  }
};

// A step of B: eight input channels of one tap for the columns of the tile.
template <int Warps, bool kBackward, bool kVector>
struct WeightLoader {
  using T = Tiling<Warps>;
  ConstFilter weight;
  int first;  // column
  float4 value;

  __device__ __forceinline__ WeightLoader(ConstFilter weight, int first)
      : weight(weight), first(first) {}

  __device__ __forceinline__ void fetch(int kh, int kw, int channel, int thread) {
    const float* tap = weight.tap(kh, kw);
    if (kBackward) {  // weight[tap][column][channel ..]
      const int column = first + thread / 2, k = channel + thread % 2 * 4;
      const int left = column < weight.ic ? weight.oc - k : 0;
      value = load_quad<kVector>(
          left > 0 ? tap + std::ptrdiff_t(column) * weight.oc + k : weight.data, left);
    } else {  // weight[tap][channel][column ..]
      const int k = channel + thread / (T::kColumns / 4);
      const int column = first + thread % (T::kColumns / 4) * 4;
      const int left = k < weight.ic ? weight.oc - column : 0;
      value = load_quad<kVector>(
          left > 0 ? tap + std::ptrdiff_t(k) * weight.oc + column : weight.data, left);
    }
  }

  template <class Stage>
  __device__ __forceinline__ void store(Stage& stage, int thread) const {
    if (kBackward) {
      float four[4];
      spread(value, four);
#pragma unroll
      for (int k = 0; k < 4; ++k) stage.b[thread % 2 * 4 + k][thread / 2] = four[k];
    } else {
      store4(&stage.b[thread / (T::kColumns / 4)][thread % (T::kColumns / 4) * 4], value);
    }
  }
};

// kVector: channels and memory allow for quads everywhere.
template <int Warps, bool kBackward, bool kVector>
__global__ void __launch_bounds__(Tiling<Warps>::kThreads)
    convolve(ConstView from, ConstFilter weight, ConstSpan bias, FusedRelu relu, View to) {
  using T = Tiling<Warps>;
  auto& shared = shared_memory<typename T::Shared>();
  const int thread = threadIdx.x;
  const int first_row = blockIdx.x * T::kRows, first_column = blockIdx.y * T::kColumns;
  PixelLoader<Warps, kBackward, kVector> a(from, to, first_row, thread);
  WeightLoader<Warps, kBackward, kVector> b(weight, first_column);
  ThreadTile tile(thread);

  const int chunks = (from.c + kDepth - 1) / kDepth, steps = 9 * chunks;
  int tap = 0, chunk = 0;
  const auto fetch = [&] {
    a.fetch(tap / 3, tap % 3, chunk * kDepth);
    b.fetch(tap / 3, tap % 3, chunk * kDepth, thread);
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

  const int pixels = to.h * to.w, count = to.n * pixels;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int row = first_row + tile.row_of(i);
    if (row >= count) continue;
    const int n = row / pixels, rest = row - n * pixels, h = rest / to.w, w = rest - h * to.w;
    float* top = to.pixel(n, h, w);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int column = first_column + tile.column_of(j);
      if (column >= to.c) continue;
      float value = tile.sum[i][j];
      if (bias.data != nullptr) value += bias.data[column];
      if (relu.on && !(value > 0.0f)) value *= relu.negative_slope;
      tile.sum[i][j] = value;
      if (!kVector) top[column] = value;
    }
    if constexpr (kVector) {
#pragma unroll
      for (int j = 0; j < 8; j += 4) {
        const int column = first_column + tile.column_of(j);
        const float* s = tile.sum[i] + j;
        if (column < to.c) store4(top + column, make_float4(s[0], s[1], s[2], s[3]));
      }
    }
  }
}

template <int Warps, bool kBackward>
void launch_convolve(const Context& ctx, ConstView from, ConstFilter weight, ConstSpan bias,
                     FusedRelu relu, View to) {
  using T = Tiling<Warps>;
  const dim3 grid(blocks_for(std::ptrdiff_t(to.n) * to.h * to.w, T::kRows),
                  blocks_for(to.c, T::kColumns));
  const bool quads =
      has_quads(from) && has_quads(to) && reinterpret_cast<std::uintptr_t>(weight.data) % 16 == 0;
  const auto kernel = quads ? convolve<Warps, kBackward, true> : convolve<Warps, kBackward, false>;
  UNET_CUDA(launch(kBackward ? "conv3x3_backward_data" : "conv3x3_forward", kernel, grid,
                   T::kThreads, sizeof(typename T::Shared), stream_of(ctx), from, weight, bias,
                   relu, to));
}

template <bool kBackward>
void convolve_on(const Context& ctx, ConstView from, ConstFilter weight, ConstSpan bias,
                 FusedRelu relu, View to) {
  const auto launch_with =
      to.c > Tiling<1>::kColumns ? launch_convolve<2, kBackward> : launch_convolve<1, kBackward>;
  launch_with(ctx, from, weight, bias, relu, to);
}

// --- backward_weights ---

template <int Warps>
Splits splits_of(const Conv3x3Shape& shape) {
  using T = Tiling<Warps>;
  const std::ptrdiff_t pixels = std::ptrdiff_t(shape.n) * (shape.ih - 2) * (shape.iw - 2);
  const std::ptrdiff_t tiles =
      9 * std::ptrdiff_t(blocks_for(shape.ic, T::kRows)) * blocks_for(shape.oc, T::kColumns);
  return split_pixels(pixels, tiles, kDepth);
}

// One tile of weight_diff of a tap, over a split of the pixels, into partial[split][tap][IC][OC].
// A (bottom) and B (top_diff) come pixel by pixel, channels in a row: neither is transposed.
template <int Warps, bool kVector>
__global__ void __launch_bounds__(Tiling<Warps>::kThreads)
    correlate(ConstView bottom, ConstView top_diff, int split_pixels, float* partial) {
  using T = Tiling<Warps>;
  auto& shared = shared_memory<typename T::Shared>();
  const int thread = threadIdx.x;
  const int row_tiles = (bottom.c + T::kRows - 1) / T::kRows;
  const int first_row = blockIdx.x % row_tiles * T::kRows;
  const int first_column = blockIdx.x / row_tiles * T::kColumns;
  const int tap = blockIdx.y, split = blockIdx.z;
  const int image = top_diff.h * top_diff.w, pixels = top_diff.n * image;
  const int begin = split * split_pixels;
  const int end = begin + split_pixels < pixels ? begin + split_pixels : pixels;
  ThreadTile tile(thread);

  float4 a[T::kQuadsOfA], b;
  const auto fetch = [&](int first_pixel) {
  // Quads of A: 32 for each of 8 pixels; of B: kColumns / 4.
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      const int k = (thread + i * T::kThreads) / 32, pixel = first_pixel + k;
      const int channel = first_row + (thread + i * T::kThreads) % 32 * 4;
      const int n = pixel / image, h = pixel % image / top_diff.w, w = pixel % top_diff.w;
      const int left = pixel < end ? bottom.c - channel : 0;
      a[i] = load_quad<kVector>(
          left > 0 ? bottom.pixel(n, h + tap / 3, w + tap % 3) + channel : bottom.data, left);
    }
    const int pixel = first_pixel + thread / (T::kColumns / 4);
    const int channel = first_column + thread % (T::kColumns / 4) * 4;
    const int n = pixel / image, h = pixel % image / top_diff.w, w = pixel % top_diff.w;
    const int left = pixel < end ? top_diff.c - channel : 0;
    b = load_quad<kVector>(left > 0 ? top_diff.pixel(n, h, w) + channel : top_diff.data, left);
  };
  fetch(begin);
  for (int first = begin, step = 0; first < end; first += kDepth, ++step) {
    auto& stage = shared.stage[step % 2];
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      const int quad = thread + i * T::kThreads;
      store4(&stage.a[quad / 32][quad % 32 * 4], a[i]);
    }
    store4(&stage.b[thread / (T::kColumns / 4)][thread % (T::kColumns / 4) * 4], b);
    __syncthreads();
    if (first + kDepth < end) fetch(first + kDepth);
    multiply(stage, tile);
  }

  float* to = partial + (std::ptrdiff_t(split) * 9 + tap) * bottom.c * top_diff.c;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int row = first_row + tile.row_of(i);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int column = first_column + tile.column_of(j);
      if (row < bottom.c && column < top_diff.c) {
        to[std::ptrdiff_t(row) * top_diff.c + column] = tile.sum[i][j];
      }
    }
  }
}

template <int Warps>
void backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff, bool accumulate,
                      Span workspace, Filter weight_diff, Span bias_diff) {
  using T = Tiling<Warps>;
  const Splits splits = splits_of<Warps>({bottom.n, bottom.c, bottom.h, bottom.w, top_diff.c});
  const dim3 grid(blocks_for(bottom.c, T::kRows) * blocks_for(top_diff.c, T::kColumns), 9,
                  unsigned(splits.count));
  const bool quads = has_quads(bottom) && has_quads(top_diff);
  const auto kernel = quads ? correlate<Warps, true> : correlate<Warps, false>;
  UNET_CUDA(launch("conv3x3_backward_weights", kernel, grid, T::kThreads,
                   sizeof(typename T::Shared), stream_of(ctx), bottom, top_diff, splits.pixels,
                   workspace.data));
  const std::ptrdiff_t size = std::ptrdiff_t(9) * bottom.c * top_diff.c;
  launch_add_splits(ctx, size, workspace.data, splits.count, accumulate, weight_diff.data);
  if (bias_diff.data != nullptr) {
    bias_backward(ctx, top_diff, accumulate, workspace.data, bias_diff);
  }
}

bool takes_two_warps(int columns) { return columns > Tiling<1>::kColumns; }

}  // namespace

void conv3x3_forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
                     FusedRelu relu, Algorithm, Span, View top) {
  if (conv3x3_few::takes(bottom.c))
    return conv3x3_few::forward(ctx, bottom, weight, bias, relu, top);
  convolve_on<false>(ctx, bottom, weight, bias, relu, top);
}

void conv3x3_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight, Algorithm,
                           Span, View bottom_diff) {
  convolve_on<true>(ctx, top_diff, weight, {}, {}, bottom_diff);
}

void conv3x3_backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff, Algorithm,
                              bool accumulate, Span workspace, Filter weight_diff, Span bias_diff) {
  if (conv3x3_few::takes(bottom.c)) {
    return conv3x3_few::backward_weights(ctx, bottom, top_diff, accumulate, workspace.data,
                                         weight_diff, bias_diff);
  }
  const auto run = takes_two_warps(top_diff.c) ? backward_weights<2> : backward_weights<1>;
  run(ctx, bottom, top_diff, accumulate, workspace, weight_diff, bias_diff);
}

std::ptrdiff_t conv3x3_workspace(const Context&, const Conv3x3Shape& shape, Pass pass, Algorithm) {
  if (pass != Pass::kBackwardWeights) return 0;
  if (conv3x3_few::takes(shape.ic)) return conv3x3_few::workspace(shape);
  const Splits splits = takes_two_warps(shape.oc) ? splits_of<2>(shape) : splits_of<1>(shape);
  const std::ptrdiff_t weights = std::ptrdiff_t(splits.count) * 9 * shape.ic * shape.oc;
  const std::ptrdiff_t biases = bias_workspace(shape.n, shape.oc, shape.ih - 2);
  return weights > biases ? weights : biases;
}

}  // namespace unet::UNET_GPU
