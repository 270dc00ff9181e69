// Convolutions on tensor cores: the products of convolution.cu in TF32 or bfloat16, with float32
// sums.
//
//                    A in shared memory       B in shared memory           (cuda/gemm_tensor.h)
//   forward          [pixel][channel]         [input channel][column]
//   backward_data    [pixel][channel]         [column][output channel]
//   backward_weights [pixel][row]             [pixel][column]
//
// All of them as they lie in global memory, 16 bytes a copy: nothing is transposed on the way. What
// 16 bytes do not do for (channels that are no multiple of four, or memory that is not aligned) is
// computed exactly, by convolution.cu.
//
// Cost: tiles of R x C read R + C floats for R*C multiply-adds; see the model in gemm_tensor.h.
#include "cuda/check.h"
#include "cuda/convolution_operands.h"
#include "cuda/gemm_tensor.h"

namespace unet::UNET_GPU {
namespace {

// --- convolve ---

// Copies of A: 16 channels of one tap for the rows (pixels) of the tile.
template <class T, bool kBackward>
struct PixelCopies {
  using Operand = KMajor<T::kRows>;
  Operand operand;
  PixelRow row[Operand::kCopies];

  __device__ __forceinline__ PixelCopies(const ConstView& from, const Taps& taps, const View& to,
                                         int first, int thread)
      : operand(thread) {
#pragma unroll
    for (int i = 0; i < Operand::kCopies; ++i) {
      row[i].template place<kBackward>(from, taps, to, first + operand.line(i));
      row[i].pixel += operand.k();
    }
  }

  template <class Step>
  __device__ __forceinline__ void fetch(const ConstView& from, const Step& step, float* to) const {
    const int left = from.c - step.channel - operand.k();
#pragma unroll
    for (int i = 0; i < Operand::kCopies; ++i) {
      copy16_async(operand.to(to, i), row[i].pixel + step.shift,
                   row[i].template count<kBackward>(step.tap, left) > 0);
    }
  }
};

// Copies of B: 16 channels of one tap for the columns of the tile.
template <class T, bool kBackward>
struct WeightCopies;

template <class T>
struct WeightCopies<T, false> {  // weight[tap][channel][column ..]
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
      copy16_async(operand.to(to, i), weight + 32 * i, left > 32 * i);
    }
  }
};

template <class T>
struct WeightCopies<T, true> {  // weight[tap][column][channel ..]
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
      copy16_async(operand.to(to, i), weight + i * apart, 32 * i < columns && left > 0);
    }
  }
};

template <class Math, class T, bool kBackward>
__global__ void __launch_bounds__(kTensorThreads, 2)
    multiply_taps(ConstView from, Taps taps, ConstFilter weight, PixelStore store, Blocks blocks) {
  if constexpr (!kHasTensorCores) return;
  auto& shared = shared_memory<typename T::Shared>();
  const int thread = threadIdx.x;
  const int first_row = blockIdx.x * T::kRows, first_column = blockIdx.y * T::kColumns;
  const Place place = place_of(blocks, blockIdx.z);
  weight.data += place.weight;
  using A = PixelCopies<T, kBackward>;
  using B = WeightCopies<T, kBackward>;
  const A a(from, taps, store.to, first_row, thread);
  B b(weight, first_column, thread);

  using Steps = TapSteps<kBackward, kTensorDepth>;
  const int left = Steps::count(from, taps) - place.step;
  Steps next(from, taps, place.step);
  b.weight += next.weight(weight, place.step);
  TensorTile<T> tile(thread);
  multiply_steps<Math, typename A::Operand, typename B::Operand, T>(
      shared, left < blocks.steps ? left : blocks.steps,
      [&](typename T::Stage& stage) {
        a.fetch(from, next, stage.a);
        b.fetch(weight, next, stage.b);
        next.advance(from, taps, weight, b.weight);
      },
      tile);
  const Place result = place_of(blocks, computed_again(blockIdx.z));
  store.to.data += result.split + result.pixel;
  tile.for_quads([&](int row, int column, float4 sums) {
    float* pixel = store.row(first_row + row);
    if (pixel != nullptr) store.template quad<true>(pixel, first_column + column, sums);
  });
}

// --- correlate ---

// Copies of A and B: one pixel of 16, some of its channels.
template <class T>
struct OuterProductCopies {
  using A = LineMajor<T::kRows>;
  using B = LineMajor<T::kColumns>;
  A a;
  B b;
  int count[A::kCopies];
  std::ptrdiff_t shift[A::kCopies];
  int column, columns;

  __device__ __forceinline__ OuterProductCopies(const WeightRows& rows, const ConstView& top_diff,
                                                int first_row, int first_column, int thread)
      : a(thread), b(thread), column(first_column + b.line(0)), columns(top_diff.c - column) {
#pragma unroll
    for (int i = 0; i < A::kCopies; ++i) {
      rows.quad(first_row + a.line(i), count[i], shift[i]);
    }
  }

  __device__ __forceinline__ void fetch(const PixelWalk& walk, typename T::Stage& stage) const {
    const bool there = walk.left > 0;
#pragma unroll
    for (int i = 0; i < A::kCopies; ++i) {
      copy16_async(a.to(stage.a, i), walk.bottom + shift[i], there && count[i] > 0);
    }
#pragma unroll
    for (int i = 0; i < B::kCopies; ++i) {
      copy16_async(b.to(stage.b, i), walk.top_diff + column + 32 * i, there && columns > 32 * i);
    }
  }
};

template <class Math, class T>
__global__ void __launch_bounds__(kTensorThreads, 2)
    sum_outer_products(ConstView bottom, Taps taps, ConstView top_diff, Blocks blocks,
                       float* partial) {
  if constexpr (!kHasTensorCores) return;
  auto& shared = shared_memory<typename T::Shared>();
  const int thread = threadIdx.x;
  const int first_row = blockIdx.x * T::kRows, first_column = blockIdx.y * T::kColumns;
  const Place place = place_of(blocks, blockIdx.z);
  top_diff.data += place.pixel;
  const int pixels = top_diff.n * top_diff.h * top_diff.w, most = blocks.steps * kTensorDepth;
  const int begin = place.step * kTensorDepth, left = pixels - begin;
  const int count = left < most ? left : most;
  using Copies = OuterProductCopies<T>;
  const WeightRows rows(taps, bottom.c);
  const Copies copies(rows, top_diff, first_row, first_column, thread);
  PixelWalk walk(bottom, top_diff, begin + copies.a.k(), begin + count);
  TensorTile<T> tile(thread);
  multiply_steps<Math, typename Copies::A, typename Copies::B, T>(
      shared, (count + kTensorDepth - 1) / kTensorDepth,
      [&](typename T::Stage& stage) {
        copies.fetch(walk, stage);
        walk.advance(bottom, top_diff, kTensorDepth);
      },
      tile);

  const Place result = place_of(blocks, computed_again(blockIdx.z));
  partial += result.split + result.weight;
  tile.for_quads([&](int row, int column, float4 sums) {
    float* to = rows.place(partial, first_row + row, top_diff.c);
    if (to == nullptr) return;
    column += first_column;
    store_quad<true>(to + column, sums, top_diff.c - column);
  });
}

// --- launches: the kernels of each tile, in the order of convolution_plan.h ---

constexpr const char* name_in(Tf32, int rows, int columns) {
  return columns == 128 ? "tf32 128x128" : rows == 128 ? "tf32 128x64" : "tf32 64x64";
}
constexpr const char* name_in(Bf16, int rows, int columns) {
  return columns == 128 ? "bf16 128x128" : rows == 128 ? "bf16 128x64" : "bf16 64x64";
}

template <class Math, class T, bool kBackward>
void launch_taps(const Context& ctx, const TapProduct& p) {
  UNET_CUDA(launch({p.name, name_in(Math(), T::kRows, T::kColumns)},
                   multiply_taps<Math, T, kBackward>, grid_of<T>(p), kTensorThreads,
                   sizeof(typename T::Shared), stream_of(ctx), p.from, p.taps, p.weight,
                   PixelStore{p.to, p.bias, p.relu}, p.blocks));
}

template <class Math, bool kBackward>
void convolve_in(const Context& ctx, int tile, const TapProduct& p) {
  const auto launch_tile = tile == 0   ? launch_taps<Math, TensorTiling<2, 2>, kBackward>
                           : tile == 1 ? launch_taps<Math, TensorTiling<2, 1>, kBackward>
                                       : launch_taps<Math, TensorTiling<1, 1>, kBackward>;
  launch_tile(ctx, p);
}

template <class Math, class T>
void launch_outer_products(const Context& ctx, const OuterProduct& p) {
  UNET_CUDA(launch({p.name, name_in(Math(), T::kRows, T::kColumns)}, sum_outer_products<Math, T>,
                   grid_of<T>(p), kTensorThreads, sizeof(typename T::Shared), stream_of(ctx),
                   p.bottom, p.taps, p.top_diff, p.blocks, p.partial));
}

template <class Math>
void correlate_in(const Context& ctx, int tile, const OuterProduct& p) {
  const auto launch_tile = tile == 0   ? launch_outer_products<Math, TensorTiling<2, 2>>
                           : tile == 1 ? launch_outer_products<Math, TensorTiling<2, 1>>
                                       : launch_outer_products<Math, TensorTiling<1, 1>>;
  launch_tile(ctx, p);
}

}  // namespace

void convolve_on_tensor_cores(const Context& ctx, bool is_backward, int tile, const TapProduct& p) {
  const auto convolve_with =
      ctx.math == unet::Math::kBf16
          ? (is_backward ? convolve_in<Bf16, true> : convolve_in<Bf16, false>)
          : (is_backward ? convolve_in<Tf32, true> : convolve_in<Tf32, false>);
  convolve_with(ctx, tile, p);
}

void correlate_on_tensor_cores(const Context& ctx, int tile, const OuterProduct& p) {
  (ctx.math == unet::Math::kBf16 ? correlate_in<Bf16> : correlate_in<Tf32>)(ctx, tile, p);
}

}  // namespace unet::UNET_GPU
