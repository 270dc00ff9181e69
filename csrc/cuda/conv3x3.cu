// conv3x3 on a GPU: implicit matrix products. No matrix of windows is ever written.
//
//                    rows            columns   common dimension     A                        B
//   forward          pixels of top   OC        9 taps x IC          bottom, moved by a tap   weight
//   backward_data    pixels of       IC        9 taps x OC          top_diff, moved back, weight,
//                    bottom_diff                                    0 outside transposed
//   backward_weights 9 taps x IC     OC        pixels of top        bottom, moved top_diff
//
// A block takes one tile of the product; the epilogue adds the bias and applies the ReLU. Where
// tiles are too few for the device (conv3x3_plan.h) the common dimension is split: splits leave
// their sums in the workspace, and a second kernel adds these in their order.
//
// Here are the products in exact float32 (cuda/gemm.h); those on tensor cores, which ctx.math asks
// for, are in conv3x3_tensor.cu, and layers with few input channels in conv3x3_few.cu. On a GPU
// every algorithm is such a product; kDirect is never split.
//
// Cost: 2*9*IC*OC operations a pixel. A tile of 128 x 128 reads 256 floats for 16384 multiply-adds.
#include "cuda/check.h"
#include "cuda/conv3x3_few.h"
#include "cuda/conv3x3_operands.h"
#include "cuda/conv3x3_plan.h"
#include "cuda/conv3x3_tensor.h"
#include "cuda/elements.h"
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
  PixelRow row[T::kQuadsOfA];
  int quad;
  float4 value[T::kQuadsOfA];

  __device__ __forceinline__ PixelLoader(const ConstView& from, const View& to, int first,
                                         int thread)
      : quad(thread % 2 * 4) {
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      row[i].template place<kBackward>(from, to, first + thread / 2 + i * (T::kThreads / 2));
      row[i].pixel += quad;
    }
  }

  template <class Step>
  __device__ __forceinline__ void fetch(const ConstView& from, const Step& step) {
    const int left = from.c - step.channel - quad;
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      value[i] = load_quad<kVector>(row[i].pixel + step.shift,
                                    row[i].template count<kBackward>(step.tap, left));
    }
  }

  template <class Stage>
  __device__ __forceinline__ void store(Stage& stage, int thread) const {
    store_rows<T>(stage, value, quad, thread);
  }
};

// A step of B: eight channels of one tap for the columns of the tile.
template <int Warps, bool kBackward, bool kVector>
struct WeightLoader {
  using T = Tiling<Warps>;
  const float* weight;
  int k, columns;  // from its own on
  float4 value;

  __device__ __forceinline__ WeightLoader(const ConstFilter& filter, int first, int thread) {
    if (kBackward) {  // weight[tap][column][channel ..]
      k = thread % 2 * 4;
      columns = filter.ic - first - thread / 2;
      weight = filter.data + std::ptrdiff_t(first + thread / 2) * filter.oc + k;
    } else {  // weight[tap][channel][column ..]
      k = thread / (T::kColumns / 4);
      const int column = first + thread % (T::kColumns / 4) * 4;
      columns = filter.oc - column;
      weight = filter.data + std::ptrdiff_t(k) * filter.oc + column;
    }
  }

  template <class Step>
  __device__ __forceinline__ void fetch(const ConstFilter& filter, const Step& step) {
    const int left = kBackward ? (columns > 0 ? filter.oc - step.channel - k : 0)
                               : (step.channel + k < filter.ic ? columns : 0);
    value = load_quad<kVector>(weight, left);
  }

  template <class Stage>
  __device__ __forceinline__ void store(Stage& stage, int thread) const {
    if (kBackward) {
      float four[4];
      spread(value, four);
#pragma unroll
      for (int i = 0; i < 4; ++i) stage.b[thread % 2 * 4 + i][thread / 2] = four[i];
    } else {
      store4(&stage.b[thread / (T::kColumns / 4)][thread % (T::kColumns / 4) * 4], value);
    }
  }
};

// kVector: channels and memory allow for quads everywhere.
template <int Warps, bool kBackward, bool kVector>
__global__ void __launch_bounds__(Tiling<Warps>::kThreads, Warps == 2 ? 2 : 3)
    convolve(ConstView from, ConstFilter weight, PixelStore store, StepRange range) {
  using T = Tiling<Warps>;
  auto& shared = shared_memory<typename T::Shared>();
  const int thread = threadIdx.x;
  const int first_row = blockIdx.x * T::kRows, first_column = blockIdx.y * T::kColumns;
  store.to.data += blockIdx.z * range.stride;
  PixelLoader<Warps, kBackward, kVector> a(from, store.to, first_row, thread);
  WeightLoader<Warps, kBackward, kVector> b(weight, first_column, thread);
  ThreadTile tile(thread);

  using Steps = TapSteps<kBackward, kDepth>;
  const int begin = blockIdx.z * range.steps, left = Steps::count(from) - begin;
  const int steps = left < range.steps ? left : range.steps;
  Steps next(from, begin);
  b.weight += next.weight(weight, begin);
  a.fetch(from, next);
  b.fetch(weight, next);
  for (int step = 0; step < steps; ++step) {
    auto& stage = shared.stage[step % 2];
    a.store(stage, thread);
    b.store(stage, thread);
    __syncthreads();
    next.advance(from, weight, b.weight);
    if (step + 1 < steps) {
      a.fetch(from, next);
      b.fetch(weight, next);
    }
    multiply(stage, tile);
  }

#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float* pixel = store.row(first_row + tile.row_of(i));
    if (pixel == nullptr) continue;
#pragma unroll
    for (int j = 0; j < 8; j += 4) {
      const float* s = tile.sum[i] + j;
      store.template quad<kVector>(pixel, first_column + tile.column_of(j),
                                   make_float4(s[0], s[1], s[2], s[3]));
    }
  }
}

// Adds the splits of a blob in their order, then bias and ReLU.
__global__ void finish_splits(Extent extent, const float* partial, int splits, PixelStore store) {
  const View& to = store.to;
  const std::ptrdiff_t size = std::ptrdiff_t(to.n) * to.h * to.w * to.c;
  for_elements(extent, [&](int n, int c, int h, int w) {
    const float* p = partial + ((std::ptrdiff_t(n) * to.h + h) * to.w + w) * to.c + c;
    float sum = p[0];
#pragma unroll 4
    for (int s = 1; s < splits; ++s) sum += p[s * size];
    to.pixel(n, h, w)[c] = store.finished(sum, c);
  });
}

template <int Warps, bool kBackward>
void launch_convolve(const Context& ctx, const TilePlan& plan, ConstView from, ConstFilter weight,
                     const PixelStore& store) {
  using T = Tiling<Warps>;
  const View& to = store.to;
  const std::ptrdiff_t pixels = std::ptrdiff_t(to.n) * to.h * to.w;
  const dim3 grid(blocks_for(pixels, T::kRows), blocks_for(to.c, T::kColumns),
                  unsigned(plan.splits));
  const bool quads =
      has_quads(from) && has_quads(to) && reinterpret_cast<std::uintptr_t>(weight.data) % 16 == 0;
  const auto kernel = quads ? convolve<Warps, kBackward, true> : convolve<Warps, kBackward, false>;
  const char* const name =
      kBackward ? (Warps == 2 ? "conv3x3_backward_data fp32 128x128"
                              : "conv3x3_backward_data fp32 128x64")
                : (Warps == 2 ? "conv3x3_forward fp32 128x128" : "conv3x3_forward fp32 128x64");
  UNET_CUDA(launch(name, kernel, grid, T::kThreads, sizeof(typename T::Shared), stream_of(ctx),
                   from, weight, store, StepRange{plan.steps, pixels * to.c}));
}

// The product, into `store.to` or, in splits, by way of the workspace.
template <bool kBackward>
void convolve_on(const Context& ctx, ConstView from, ConstFilter weight, const PixelStore& store,
                 Algorithm algorithm, Span workspace) {
  const View& to = store.to;
  const std::ptrdiff_t pixels = std::ptrdiff_t(to.n) * to.h * to.w;
  const TilePlan plan = plan_convolve(ctx, from.c, to.c, pixels, algorithm);
  const std::ptrdiff_t row = std::ptrdiff_t(to.w) * to.c;
  const PixelStore partial = {
      {workspace.data, to.n, to.c, to.h, to.w, to.h * row, row, to.c}, {}, {}};
  const PixelStore& products = plan.splits > 1 ? partial : store;
  if (ctx.math == Math::kFp32) {
    const auto launch_tile =
        plan.tile == 0 ? launch_convolve<2, kBackward> : launch_convolve<1, kBackward>;
    launch_tile(ctx, plan, from, weight, products);
  } else {
    convolve_on_tensor_cores(ctx, plan, kBackward, from, weight, products.bias, products.relu,
                             products.to);
  }
  if (plan.splits == 1) return;
  launch_elements(ctx, kBackward ? "conv3x3_backward_data splits" : "conv3x3_forward splits",
                  finish_splits, extent_of(to), workspace.data, plan.splits, store);
}

// --- backward_weights ---

// One tile of weight_diff, over a split of the pixels, into partial[split][tap][IC][OC]. A (bottom)
// and B (top_diff) come pixel by pixel, channels in a row: neither is transposed. A thread brings
// quads of one of the eight pixels of a step.
template <int Warps, bool kVector>
__global__ void __launch_bounds__(Tiling<Warps>::kThreads, Warps == 2 ? 2 : 3)
    correlate(ConstView bottom, ConstView top_diff, int split_steps, float* partial) {
  using T = Tiling<Warps>;
  constexpr int kOfPixel = T::kThreads / kDepth;  // threads; each has one quad of B
  auto& shared = shared_memory<typename T::Shared>();
  const int thread = threadIdx.x, k = thread / kOfPixel, quad = thread % kOfPixel * 4;
  const int first_row = blockIdx.x * T::kRows, first_column = blockIdx.y * T::kColumns;
  const int pixels = top_diff.n * top_diff.h * top_diff.w;
  const int begin = blockIdx.z * split_steps * kDepth, left = pixels - begin;
  const int count = left < split_steps * kDepth ? left : split_steps * kDepth;
  const WeightRows rows(bottom.c);
  PixelWalk walk(bottom, top_diff, begin + k, begin + count);
  ThreadTile tile(thread);

  int rows_left[T::kQuadsOfA];
  std::ptrdiff_t shift[T::kQuadsOfA];
#pragma unroll
  for (int i = 0; i < T::kQuadsOfA; ++i) {
    rows.quad(bottom, first_row + quad + i * T::kColumns, rows_left[i], shift[i]);
  }
  const int column = first_column + quad;
  float4 a[T::kQuadsOfA], b;
  const auto fetch = [&] {
    const bool there = walk.left > 0;
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      a[i] = load_quad<kVector>(walk.bottom + shift[i], there ? rows_left[i] : 0);
    }
    b = load_quad<kVector>(walk.top_diff + column, there ? top_diff.c - column : 0);
  };
  fetch();
  const int steps = (count + kDepth - 1) / kDepth;
  for (int step = 0; step < steps; ++step) {
    auto& stage = shared.stage[step % 2];
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) store4(&stage.a[k][quad + i * T::kColumns], a[i]);
    store4(&stage.b[k][quad], b);
    __syncthreads();
    walk.advance(bottom, top_diff, kDepth);
    if (step + 1 < steps) fetch();
    multiply(stage, tile);
  }

  partial += std::ptrdiff_t(blockIdx.z) * 9 * bottom.c * top_diff.c;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float* to = rows.place(partial, first_row + tile.row_of(i), top_diff.c);
    if (to == nullptr) continue;
#pragma unroll
    for (int j = 0; j < 8; j += 4) {
      const float* s = tile.sum[i] + j;
      const int at = first_column + tile.column_of(j);
      store_quad<kVector>(to + at, make_float4(s[0], s[1], s[2], s[3]), top_diff.c - at);
    }
  }
}

template <int Warps>
void launch_correlate(const Context& ctx, const TilePlan& plan, ConstView bottom,
                      ConstView top_diff, float* partial) {
  using T = Tiling<Warps>;
  const dim3 grid(blocks_for(weight_rows(bottom.c), T::kRows), blocks_for(top_diff.c, T::kColumns),
                  unsigned(plan.splits));
  const bool quads = has_quads(bottom) && has_quads(top_diff) &&
                     reinterpret_cast<std::uintptr_t>(partial) % 16 == 0;
  const auto kernel = quads ? correlate<Warps, true> : correlate<Warps, false>;
  UNET_CUDA(launch(
      Warps == 2 ? "conv3x3_backward_weights fp32 128x128" : "conv3x3_backward_weights fp32 128x64",
      kernel, grid, T::kThreads, sizeof(typename T::Shared), stream_of(ctx), bottom, top_diff,
      plan.steps, partial));
}

}  // namespace

void conv3x3_forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
                     FusedRelu relu, Algorithm algorithm, Span workspace, View top) {
  if (conv3x3_few::takes(bottom.c)) {
    return conv3x3_few::forward(ctx, bottom, weight, bias, relu, top);
  }
  convolve_on<false>(ctx, bottom, weight, {top, bias, relu}, algorithm, workspace);
}

void conv3x3_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                           Algorithm algorithm, Span workspace, View bottom_diff) {
  convolve_on<true>(ctx, top_diff, weight, {bottom_diff, {}, {}}, algorithm, workspace);
}

void conv3x3_backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff, Algorithm,
                              bool accumulate, Span workspace, Filter weight_diff, Span bias_diff) {
  if (conv3x3_few::takes(bottom.c)) {
    return conv3x3_few::backward_weights(ctx, bottom, top_diff, accumulate, workspace.data,
                                         weight_diff, bias_diff);
  }
  const std::ptrdiff_t pixels = std::ptrdiff_t(top_diff.n) * top_diff.h * top_diff.w;
  const TilePlan plan = plan_correlate(ctx, bottom.c, top_diff.c, pixels);
  const auto correlate_with = ctx.math != Math::kFp32 ? correlate_on_tensor_cores
                              : plan.tile == 0        ? launch_correlate<2>
                                                      : launch_correlate<1>;
  correlate_with(ctx, plan, bottom, top_diff, workspace.data);
  launch_add_splits(ctx, std::ptrdiff_t(9) * bottom.c * top_diff.c, workspace.data, plan.splits,
                    accumulate, weight_diff.data);
  if (bias_diff.data != nullptr) {
    bias_backward(ctx, top_diff, accumulate, workspace.data, bias_diff);
  }
}

std::ptrdiff_t conv3x3_workspace(const Context& ctx, const Conv3x3Shape& shape, Pass pass,
                                 Algorithm algorithm) {
  const std::ptrdiff_t bottom_pixels = std::ptrdiff_t(shape.n) * shape.ih * shape.iw;
  const std::ptrdiff_t top_pixels = std::ptrdiff_t(shape.n) * (shape.ih - 2) * (shape.iw - 2);
  const auto of_splits = [](const TilePlan& plan, std::ptrdiff_t results) {
    return plan.splits > 1 ? plan.splits * results : 0;
  };
  const bool few = conv3x3_few::takes(shape.ic);
  if (pass == Pass::kForward) {
    if (few) return 0;
    return of_splits(plan_convolve(ctx, shape.ic, shape.oc, top_pixels, algorithm),
                     top_pixels * shape.oc);
  }
  if (pass == Pass::kBackwardData) {
    return of_splits(plan_convolve(ctx, shape.oc, shape.ic, bottom_pixels, algorithm),
                     bottom_pixels * shape.ic);
  }
  if (few) return conv3x3_few::workspace(shape);
  const TilePlan plan = plan_correlate(ctx, shape.ic, shape.oc, top_pixels);
  const std::ptrdiff_t weights = std::ptrdiff_t(plan.splits) * 9 * shape.ic * shape.oc;
  const std::ptrdiff_t biases = bias_workspace(shape.n, shape.oc, shape.ih - 2);
  return weights > biases ? weights : biases;
}

}  // namespace unet::UNET_GPU
