// Convolutions in exact float32 (cuda/gemm.h), and what they have in common with those on tensor
// cores: plans, launches, and the sum of splits. cuda/convolution.h says what the products are.
//
// A block takes one tile of one split of a part; the epilogue adds the bias and applies the ReLU.
// Channels or memory that do not allow for quads go the smaller tile's scalar way, whatever
// ctx.math says: such layers are the first, the last, and odd ones in tests.
//
// Cost: a tile of 128 x 128 reads 256 floats for 16384 multiply-adds.
#include "cuda/check.h"
#include "cuda/convolution.h"
#include "cuda/convolution_operands.h"
#include "cuda/convolution_plan.h"
#include "cuda/elements.h"
#include "cuda/reduce.h"

namespace unet::UNET_GPU {
namespace {

constexpr const char* name_of_tile(int warps) {
  return warps == 2 ? "fp32 128x128" : "fp32 128x64";
}

// --- convolve ---

// A step of A: eight channels of one tap, for the rows (pixels) that a thread brings.
template <int Warps, bool kBackward, bool kVector>
struct PixelLoader {
  using T = Tiling<Warps>;
  PixelRow row[T::kQuadsOfA];
  int quad;
  float4 value[T::kQuadsOfA];

  __device__ __forceinline__ PixelLoader(const ConstView& from, const Taps& taps, const View& to,
                                         int first, int thread)
      : quad(thread % 2 * 4) {
#pragma unroll
    for (int i = 0; i < T::kQuadsOfA; ++i) {
      row[i].template place<kBackward>(from, taps, to, first + thread / 2 + i * (T::kThreads / 2));
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
    multiply_taps(ConstView from, Taps taps, ConstFilter weight, PixelStore store, Blocks blocks) {
  using T = Tiling<Warps>;
  auto& shared = shared_memory<typename T::Shared>();
  const int thread = threadIdx.x;
  const int first_row = blockIdx.x * T::kRows, first_column = blockIdx.y * T::kColumns;
  const Place place = place_of(blocks, blockIdx.z);
  weight.data += place.weight;
  PixelLoader<Warps, kBackward, kVector> a(from, taps, store.to, first_row, thread);
  WeightLoader<Warps, kBackward, kVector> b(weight, first_column, thread);
  ThreadTile tile(thread);

  using Steps = TapSteps<kBackward, kDepth>;
  const int left = Steps::count(from, taps) - place.step;
  const int steps = left < blocks.steps ? left : blocks.steps;
  Steps next(from, taps, place.step);
  b.weight += next.weight(weight, place.step);
  a.fetch(from, next);
  b.fetch(weight, next);
  for (int step = 0; step < steps; ++step) {
    auto& stage = shared.stage[step % 2];
    a.store(stage, thread);
    b.store(stage, thread);
    __syncthreads();
    next.advance(from, taps, weight, b.weight);
    if (step + 1 < steps) {
      a.fetch(from, next);
      b.fetch(weight, next);
    }
    multiply(stage, tile);
  }

  const Place result = place_of(blocks, computed_again(blockIdx.z));
  store.to.data += result.split + result.pixel;
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

template <int Warps, bool kBackward, bool kVector>
void launch_taps(const Context& ctx, const TapProduct& p) {
  using T = Tiling<Warps>;
  UNET_CUDA(launch({p.name, name_of_tile(Warps)}, multiply_taps<Warps, kBackward, kVector>,
                   grid_of<T>(p), T::kThreads, sizeof(typename T::Shared), stream_of(ctx), p.from,
                   p.taps, p.weight, PixelStore{p.to, p.bias, p.relu}, p.blocks));
}

template <bool kBackward>
void convolve_exactly(const Context& ctx, int tile, const TapProduct& p) {
  const auto launch_tile = !has_quads(p) ? launch_taps<1, kBackward, false>
                           : tile == 0   ? launch_taps<2, kBackward, true>
                                         : launch_taps<1, kBackward, true>;
  launch_tile(ctx, p);
}

ConvolutionSize size_of(const Convolution& c) {
  const int parts = c.scale * c.scale;
  return {std::ptrdiff_t(c.to.n) * (c.to.h / c.scale) * (c.to.w / c.scale), c.from.c, c.to.c,
          c.taps.side * c.taps.side, parts};
}

// --- correlate ---

// One tile of weight_diff, over a split of the pixels, into partial[split][part or tap][IC][OC]. A
// (bottom) and B (top_diff) come pixel by pixel, channels in a row: neither is transposed. A thread
// brings quads of one of the eight pixels of a step.
template <int Warps, bool kVector>
__global__ void __launch_bounds__(Tiling<Warps>::kThreads, Warps == 2 ? 2 : 3)
    sum_outer_products(ConstView bottom, Taps taps, ConstView top_diff, Blocks blocks,
                       float* partial) {
  using T = Tiling<Warps>;
  constexpr int kOfPixel = T::kThreads / kDepth;  // threads; each has one quad of B
  auto& shared = shared_memory<typename T::Shared>();
  const int thread = threadIdx.x, k = thread / kOfPixel, quad = thread % kOfPixel * 4;
  const int first_row = blockIdx.x * T::kRows, first_column = blockIdx.y * T::kColumns;
  const Place place = place_of(blocks, blockIdx.z);
  top_diff.data += place.pixel;
  const int pixels = top_diff.n * top_diff.h * top_diff.w;
  const int begin = place.step * kDepth, left = pixels - begin;
  const int count = left < blocks.steps * kDepth ? left : blocks.steps * kDepth;
  const WeightRows rows(taps, bottom.c);
  PixelWalk walk(bottom, top_diff, begin + k, begin + count);
  ThreadTile tile(thread);

  int rows_left[T::kQuadsOfA];
  std::ptrdiff_t shift[T::kQuadsOfA];
#pragma unroll
  for (int i = 0; i < T::kQuadsOfA; ++i) {
    rows.quad(first_row + quad + i * T::kColumns, rows_left[i], shift[i]);
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

  const Place result = place_of(blocks, computed_again(blockIdx.z));
  partial += result.split + result.weight;
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

template <int Warps, bool kVector>
void launch_outer_products(const Context& ctx, const OuterProduct& p) {
  using T = Tiling<Warps>;
  UNET_CUDA(launch({p.name, name_of_tile(Warps)}, sum_outer_products<Warps, kVector>, grid_of<T>(p),
                   T::kThreads, sizeof(typename T::Shared), stream_of(ctx), p.bottom, p.taps,
                   p.top_diff, p.blocks, p.partial));
}

void correlate_exactly(const Context& ctx, int tile, const OuterProduct& p) {
  const auto launch_tile = !has_quads(p) ? launch_outer_products<1, false>
                           : tile == 0   ? launch_outer_products<2, true>
                                         : launch_outer_products<1, true>;
  launch_tile(ctx, p);
}

// A plan for tensor cores, made one of exact products with so many steps. It has no more splits,
// for the workspace is the plan's.
TilePlan exact_plan(const TilePlan& plan, std::ptrdiff_t steps) {
  const std::ptrdiff_t each = ceil_div(steps, plan.splits);
  return {plan.tile, int(ceil_div(steps, each)), int(each)};
}

}  // namespace

void convolve(const Context& ctx, const Convolution& c, Splitting splitting, Span workspace) {
  const ConvolutionSize size = size_of(c);
  TilePlan plan = plan_convolve(ctx, size, splitting);
  const bool quads = has_quads(c.from) && has_quads(c.to) && is_aligned(c.weight.data) &&
                     (plan.splits == 1 || is_aligned(workspace.data));
  const bool on_tensor_cores = ctx.math != Math::kFp32 && quads;
  if (!quads) plan = exact_plan(plan, size.taps * ceil_div(size.from, kDepth));
  TapProduct p = {c.name, c.from, c.taps, c.weight, c.to, c.bias, c.relu, {}};
  const std::ptrdiff_t row = std::ptrdiff_t(c.to.w) * c.to.c, image = c.to.h * row;
  if (plan.splits > 1) {
    p.to = {workspace.data, c.to.n, c.to.c, c.to.h, c.to.w, image, row, c.to.c};
    p.bias = {};
    p.relu = {};
  }
  const std::ptrdiff_t weight = std::ptrdiff_t(c.weight.ic) * c.weight.oc;
  p.blocks = {plan.splits, plan.steps,      c.to.n * image,   c.scale,
              weight,      p.to.row_stride, p.to.pixel_stride};
  p.to = each_of(p.to, c.scale);
  if (on_tensor_cores) {
    convolve_on_tensor_cores(ctx, c.is_backward, plan.tile, p);
  } else {
    (c.is_backward ? convolve_exactly<true> : convolve_exactly<false>)(ctx, plan.tile, p);
  }
  if (plan.splits == 1) return;
  launch_elements(ctx, {c.name, "splits"}, finish_splits, extent_of(c.to), workspace.data,
                  plan.splits, PixelStore{c.to, c.bias, c.relu});
}

std::ptrdiff_t convolve_workspace(const Context& ctx, const ConvolutionSize& size,
                                  Splitting splitting) {
  const TilePlan plan = plan_convolve(ctx, size, splitting);
  return plan.splits > 1 ? plan.splits * size.pixels * size.parts * size.to : 0;
}

void correlate(const Context& ctx, const Correlation& c, bool accumulate, Span workspace,
               Filter weight_diff) {
  const ConstView top_diff = each_of(c.top_diff, c.scale);
  const int taps = c.taps.side * c.taps.side, parts = c.scale * c.scale;
  const std::ptrdiff_t pixels = std::ptrdiff_t(top_diff.n) * top_diff.h * top_diff.w;
  TilePlan plan = plan_correlate(ctx, {pixels, c.bottom.c, top_diff.c, taps, parts});
  const bool quads = has_quads(c.bottom) && has_quads(c.top_diff) && is_aligned(workspace.data);
  if (!quads) plan = exact_plan(plan, ceil_div(pixels, kDepth));
  const std::ptrdiff_t weight = std::ptrdiff_t(c.bottom.c) * top_diff.c;
  const std::ptrdiff_t weights = taps * parts * weight;
  const Blocks blocks = {plan.splits,
                         plan.steps,
                         weights,
                         c.scale,
                         weight,
                         c.top_diff.row_stride,
                         c.top_diff.pixel_stride};
  const OuterProduct p = {c.name, c.bottom, c.taps, top_diff, blocks, workspace.data};
  const auto launch_with =
      ctx.math != Math::kFp32 && quads ? correlate_on_tensor_cores : correlate_exactly;
  launch_with(ctx, plan.tile, p);
  launch_add_splits(ctx, weights, workspace.data, plan.splits, accumulate, weight_diff.data);
}

std::ptrdiff_t correlate_workspace(const Context& ctx, const ConvolutionSize& size) {
  return std::ptrdiff_t(plan_correlate(ctx, size).splits) * size.taps * size.parts * size.from *
         size.to;
}

}  // namespace unet::UNET_GPU
