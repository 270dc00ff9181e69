// conv3x3 on tensor cores: the products of conv3x3.cu in TF32 or bfloat16, with float32 sums.
//
//                    A in shared memory       B in shared memory           (cuda/gemm_tensor.h)
//   forward          [pixel][channel]         [input channel][column]
//   backward_data    [pixel][channel]         [column][output channel]
//   backward_weights [pixel][row]             [pixel][column]
//
// All of them as they lie in global memory, 16 bytes a copy: nothing is transposed on the way.
// Where 16 bytes do not do (channels that are no multiple of four, or memory that is not aligned),
// four copies of 4 bytes bring the same quad, in the smallest tile alone: such layers are the
// first, the last, and odd ones in tests.
//
// Cost: tiles of R x C read R + C floats for R*C multiply-adds; see the model in gemm_tensor.h.
#include "cuda/check.h"
#include "cuda/conv3x3_operands.h"
#include "cuda/conv3x3_tensor.h"
#include "cuda/gemm_tensor.h"

namespace unet::UNET_GPU {
namespace {

// --- forward and backward_data ---

// Copies of A: 16 channels of one tap for the rows (pixels) of the tile.
template <class T, bool kBackward, bool kVector>
struct PixelCopies {
  using Operand = KMajor<T::kRows>;
  Operand operand;
  PixelRow row[Operand::kCopies];

  __device__ __forceinline__ PixelCopies(const ConstView& from, const View& to, int first,
                                         int thread)
      : operand(thread) {
#pragma unroll
    for (int i = 0; i < Operand::kCopies; ++i) {
      row[i].template place<kBackward>(from, to, first + operand.line(i));
      row[i].pixel += operand.k();
    }
  }

  template <class Step>
  __device__ __forceinline__ void fetch(const ConstView& from, const Step& step, float* to) const {
    const int left = from.c - step.channel - operand.k();
#pragma unroll
    for (int i = 0; i < Operand::kCopies; ++i) {
      copy_quad_async<kVector>(operand.to(to, i), row[i].pixel + step.shift,
                               row[i].template count<kBackward>(step.tap, left));
    }
  }
};

// Copies of B: 16 channels of one tap for the columns of the tile.
template <class T, bool kBackward, bool kVector>
struct WeightCopies;

template <class T, bool kVector>
struct WeightCopies<T, false, kVector> {  // weight[tap][channel][column ..]
  using Operand = LineMajor<T::kColumns>;
  Operand operand;
  const float* weight;
  int columns;  // from the first of copy 0 on

  __device__ __forceinline__ WeightCopies(const ConstFilter& filter, int first, int thread)
      : operand(thread),
        weight(filter.data + std::ptrdiff_t(operand.k()) * filter.oc + first + operand.line(0)),
        columns(filter.oc - first - operand.line(0)) {}

  template <class Step>
  __device__ __forceinline__ void fetch(const ConstFilter& filter, const Step& step,
                                        float* to) const {
    const int left = step.channel + operand.k() < filter.ic ? columns : 0;
#pragma unroll
    for (int i = 0; i < Operand::kCopies; ++i) {
      copy_quad_async<kVector>(operand.to(to, i), weight + 32 * i, left - 32 * i);
    }
  }
};

template <class T, bool kVector>
struct WeightCopies<T, true, kVector> {  // weight[tap][column][channel ..]
  using Operand = KMajor<T::kColumns>;
  Operand operand;
  const float* weight;
  int columns;

  __device__ __forceinline__ WeightCopies(const ConstFilter& filter, int first, int thread)
      : operand(thread),
        weight(filter.data + std::ptrdiff_t(first + operand.line(0)) * filter.oc + operand.k()),
        columns(filter.ic - first - operand.line(0)) {}

  template <class Step>
  __device__ __forceinline__ void fetch(const ConstFilter& filter, const Step& step,
                                        float* to) const {
    const int left = filter.oc - step.channel - operand.k();
    const std::ptrdiff_t apart = std::ptrdiff_t(32) * filter.oc;
#pragma unroll
    for (int i = 0; i < Operand::kCopies; ++i) {
      copy_quad_async<kVector>(operand.to(to, i), weight + i * apart, 32 * i < columns ? left : 0);
    }
  }
};

template <class Math, class T, bool kBackward, bool kVector>
__global__ void __launch_bounds__(kTensorThreads, 2)
    convolve(ConstView from, ConstFilter weight, PixelStore store, StepRange range) {
  auto& shared = shared_memory<typename T::Shared>();
  const int thread = threadIdx.x;
  const int first_row = blockIdx.x * T::kRows, first_column = blockIdx.y * T::kColumns;
  store.to.data += blockIdx.z * range.stride;
  using A = PixelCopies<T, kBackward, kVector>;
  using B = WeightCopies<T, kBackward, kVector>;
  const A a(from, store.to, first_row, thread);
  B b(weight, first_column, thread);

  using Steps = TapSteps<kBackward, kTensorDepth>;
  const int begin = blockIdx.z * range.steps, left = Steps::count(from) - begin;
  Steps next(from, begin);
  b.weight += next.weight(weight, begin);
  TensorTile<T> tile(thread);
  multiply_steps<Math, typename A::Operand, typename B::Operand, T>(
      shared, left < range.steps ? left : range.steps,
      [&](typename T::Stage& stage) {
        a.fetch(from, next, stage.a);
        b.fetch(weight, next, stage.b);
        next.advance(from, weight, b.weight);
      },
      tile);
  tile.for_quads([&](int row, int column, float4 sums) {
    float* pixel = store.row(first_row + row);
    if (pixel != nullptr) store.template quad<kVector>(pixel, first_column + column, sums);
  });
}

// --- backward_weights ---

// Copies of A and B: one pixel of 16, some of its channels.
template <class T, bool kVector>
struct CorrelateCopies {
  using A = LineMajor<T::kRows>;
  using B = LineMajor<T::kColumns>;
  A a;
  B b;
  int count[A::kCopies];
  std::ptrdiff_t shift[A::kCopies];
  int column, columns;

  __device__ __forceinline__ CorrelateCopies(const ConstView& bottom, const ConstView& top_diff,
                                             int first_row, int first_column, int thread)
      : a(thread), b(thread), column(first_column + b.line(0)), columns(top_diff.c - column) {
    const WeightRows rows(bottom.c);
#pragma unroll
    for (int i = 0; i < A::kCopies; ++i) {
      rows.quad(bottom, first_row + a.line(i), count[i], shift[i]);
    }
  }

  __device__ __forceinline__ void fetch(const PixelWalk& walk, typename T::Stage& stage) const {
    const bool there = walk.left > 0;
#pragma unroll
    for (int i = 0; i < A::kCopies; ++i) {
      copy_quad_async<kVector>(a.to(stage.a, i), walk.bottom + shift[i], there ? count[i] : 0);
    }
#pragma unroll
    for (int i = 0; i < B::kCopies; ++i) {
      copy_quad_async<kVector>(b.to(stage.b, i), walk.top_diff + column + 32 * i,
                               there ? columns - 32 * i : 0);
    }
  }
};

template <class Math, class T, bool kVector>
__global__ void __launch_bounds__(kTensorThreads, 2)
    correlate(ConstView bottom, ConstView top_diff, int split_steps, float* partial) {
  auto& shared = shared_memory<typename T::Shared>();
  const int thread = threadIdx.x;
  const int first_row = blockIdx.x * T::kRows, first_column = blockIdx.y * T::kColumns;
  const int pixels = top_diff.n * top_diff.h * top_diff.w;
  const int begin = blockIdx.z * split_steps * kTensorDepth, left = pixels - begin;
  const int count = left < split_steps * kTensorDepth ? left : split_steps * kTensorDepth;
  using Copies = CorrelateCopies<T, kVector>;
  const Copies copies(bottom, top_diff, first_row, first_column, thread);
  PixelWalk walk(bottom, top_diff, begin + copies.a.k(), begin + count);
  TensorTile<T> tile(thread);
  multiply_steps<Math, typename Copies::A, typename Copies::B, T>(
      shared, (count + kTensorDepth - 1) / kTensorDepth,
      [&](typename T::Stage& stage) {
        copies.fetch(walk, stage);
        walk.advance(bottom, top_diff, kTensorDepth);
      },
      tile);

  const WeightRows rows(bottom.c);
  partial += std::ptrdiff_t(blockIdx.z) * 9 * bottom.c * top_diff.c;
  tile.for_quads([&](int row, int column, float4 sums) {
    float* to = rows.place(partial, first_row + row, top_diff.c);
    if (to == nullptr) return;
    column += first_column;
    store_quad<kVector>(to + column, sums, top_diff.c - column);
  });
}

// --- launches: the kernels of each tile, in the order of conv3x3_plan.h ---

template <class Math, class T, bool kBackward, bool kVector>
void launch_convolve(const Context& ctx, const char* name, const TilePlan& plan, ConstView from,
                     ConstFilter weight, const PixelStore& store) {
  const View& to = store.to;
  const std::ptrdiff_t pixels = std::ptrdiff_t(to.n) * to.h * to.w;
  const dim3 grid(blocks_for(pixels, T::kRows), blocks_for(to.c, T::kColumns),
                  unsigned(plan.splits));
  UNET_CUDA(launch(name, convolve<Math, T, kBackward, kVector>, grid, kTensorThreads,
                   sizeof(typename T::Shared), stream_of(ctx), from, weight, store,
                   StepRange{plan.steps, pixels * to.c}));
}

template <class Math, bool kBackward>
void convolve_in(const Context& ctx, const char* const (&names)[4], const TilePlan& plan,
                 ConstView from, ConstFilter weight, const PixelStore& store) {
  const bool quads = has_quads(from) && has_quads(store.to) &&
                     reinterpret_cast<std::uintptr_t>(weight.data) % 16 == 0;
  const auto launch_tile =
      !quads           ? launch_convolve<Math, TensorTiling<1, 1>, kBackward, false>
      : plan.tile == 0 ? launch_convolve<Math, TensorTiling<2, 2>, kBackward, true>
      : plan.tile == 1 ? launch_convolve<Math, TensorTiling<2, 1>, kBackward, true>
                       : launch_convolve<Math, TensorTiling<1, 1>, kBackward, true>;
  launch_tile(ctx, names[quads ? plan.tile : 3], plan, from, weight, store);
}

template <class Math, class T, bool kVector>
void launch_correlate(const Context& ctx, const char* name, const TilePlan& plan, ConstView bottom,
                      ConstView top_diff, float* partial) {
  const dim3 grid(blocks_for(weight_rows(bottom.c), T::kRows), blocks_for(top_diff.c, T::kColumns),
                  unsigned(plan.splits));
  UNET_CUDA(launch(name, correlate<Math, T, kVector>, grid, kTensorThreads,
                   sizeof(typename T::Shared), stream_of(ctx), bottom, top_diff, plan.steps,
                   partial));
}

template <class Math>
void correlate_in(const Context& ctx, const char* const (&names)[4], const TilePlan& plan,
                  ConstView bottom, ConstView top_diff, float* partial) {
  const bool quads = has_quads(bottom) && has_quads(top_diff) &&
                     reinterpret_cast<std::uintptr_t>(partial) % 16 == 0;
  const auto launch_tile = !quads           ? launch_correlate<Math, TensorTiling<1, 1>, false>
                           : plan.tile == 0 ? launch_correlate<Math, TensorTiling<2, 2>, true>
                           : plan.tile == 1 ? launch_correlate<Math, TensorTiling<2, 1>, true>
                                            : launch_correlate<Math, TensorTiling<1, 1>, true>;
  launch_tile(ctx, names[quads ? plan.tile : 3], plan, bottom, top_diff, partial);
}

// Names of launches, by math and tile; the last are those of 4-byte copies.
#define UNET_TENSOR_NAMES(pass, math)                                       \
  {"conv3x3_" pass " " math " 128x128", "conv3x3_" pass " " math " 128x64", \
   "conv3x3_" pass " " math " 64x64", "conv3x3_" pass " " math " 64x64 any"}

}  // namespace

void convolve_on_tensor_cores(const Context& ctx, const TilePlan& plan, bool is_backward,
                              ConstView from, ConstFilter weight, ConstSpan bias, FusedRelu relu,
                              View to) {
  static const char* const kForward[2][4] = {UNET_TENSOR_NAMES("forward", "tf32"),
                                             UNET_TENSOR_NAMES("forward", "bf16")};
  static const char* const kBackward[2][4] = {UNET_TENSOR_NAMES("backward_data", "tf32"),
                                              UNET_TENSOR_NAMES("backward_data", "bf16")};
  const bool is_bf16 = ctx.math == unet::Math::kBf16;
  const auto convolve_with = is_bf16 ? (is_backward ? convolve_in<Bf16, true>  //
                                                    : convolve_in<Bf16, false>)
                                     : (is_backward ? convolve_in<Tf32, true>  //
                                                    : convolve_in<Tf32, false>);
  convolve_with(ctx, (is_backward ? kBackward : kForward)[is_bf16], plan, from, weight,
                {to, bias, relu});
}

void correlate_on_tensor_cores(const Context& ctx, const TilePlan& plan, ConstView bottom,
                               ConstView top_diff, float* partial) {
  static const char* const kNames[2][4] = {UNET_TENSOR_NAMES("backward_weights", "tf32"),
                                           UNET_TENSOR_NAMES("backward_weights", "bf16")};
  const bool is_bf16 = ctx.math == unet::Math::kBf16;
  (is_bf16 ? correlate_in<Bf16> : correlate_in<Tf32>)(ctx, kNames[is_bf16], plan, bottom, top_diff,
                                                      partial);
}

}  // namespace unet::UNET_GPU
