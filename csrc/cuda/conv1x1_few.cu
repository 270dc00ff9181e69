// conv1x1 with up to 16 output channels: each pass reads or writes the wide blob once, in whole
// sectors, and is bound by that.
//
//   16 lanes, half a warp     four neighbouring channels each: 64 channels of a pixel in a row
//   their sums                kRun neighbouring pixels x kOutputs = 16, the outputs rounded up
//                             to 2, 4 or 16
//   block                     16 such groups, each with runs of its own
//
//   forward            a lane has its channels' share in all 16 sums; four exchanges leave it one
//                      whole sum (scatter_sums), and the 16 lanes store them side by side
//   backward_data      a lane keeps the filter of its four channels in registers
//   backward_weights   a lane keeps the sums of its four channels over the pixels of its group;
//                      groups are added through shared memory, blocks by add_splits
//
// Cost: 4*(IC + OC) bytes a pixel for each pass; 2*IC*OC operations a pixel.
#include "cuda/check.h"
#include "cuda/conv1x1_few.h"
#include "cuda/gemm.h"
#include "cuda/reduce.h"

namespace unet::UNET_GPU::conv1x1_few {
namespace {

constexpr int kLanes = 16, kGroups = 16, kThreads = kLanes * kGroups;
constexpr int kWidth = 4 * kLanes;  // channels of a group
constexpr int kSums = 16, kMostOutputs = 16;
constexpr int kMostFilter = 8 << 10;  // floats in shared memory

// Runs of kRun neighbouring pixels of a row; the last one of a row may be shorter.
template <int kRun>
struct Runs {
  int count, per_row, h, w;

  template <class T>
  explicit Runs(const BasicView<T>& blob)
      : per_row((blob.w + kRun - 1) / kRun), h(blob.h), w(blob.w) {
    count = blob.n * blob.h * per_row;
  }
};

struct Run {
  int n, h, w, pixels;

  template <int kRun>
  __device__ __forceinline__ Run(const Runs<kRun>& runs, int index) {
    const int row = index / runs.per_row;
    n = row / runs.h;
    h = row - n * runs.h;
    w = (index - row * runs.per_row) * kRun;
    const int left = index < runs.count ? runs.w - w : 0;
    pixels = left < kRun ? left : kRun;
  }
};

// The first of a block's runs for this thread's group, and the step to its next.
__device__ __forceinline__ int first_run() { return blockIdx.x * kGroups + threadIdx.x / kLanes; }
__device__ __forceinline__ int run_step() { return gridDim.x * kGroups; }

// sum[i] over the 16 lanes of the group, for i = the number of the lane.
__device__ __forceinline__ float scatter_sums(float (&sum)[kSums], int lane) {
#pragma unroll
  for (int half = kSums / 2; half > 0; half /= 2) {
    const bool upper = lane & half;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float kept = upper ? sum[i + half] : sum[i], given = upper ? sum[i] : sum[i + half];
      sum[i] = kept + __shfl_xor_sync(0xffffffffu, given, half);
    }
  }
  return sum[0];
}

template <int kOutputs, bool kVector>
__global__ void __launch_bounds__(kThreads)
    dot_products(Runs<kSums / kOutputs> runs, ConstView bottom, ConstFilter weight, ConstSpan bias,
                 FusedRelu relu, View top) {
  constexpr int kRun = kSums / kOutputs;
  float* const filter = &shared_memory<float>();  // [output][channels, with zeros to whole widths]
  const int thread = threadIdx.x, lane = thread % kLanes;
  const int padded = (bottom.c + kWidth - 1) / kWidth * kWidth;
  for (int i = thread; i < kOutputs * padded; i += kThreads) {
    const int oc = i / padded, c = i - oc * padded;
    filter[i] = oc < weight.oc && c < weight.ic ? weight.tap(0, 0)[c * weight.oc + oc] : 0.0f;
  }
  __syncthreads();

  const int pixel = lane / kOutputs, output = lane % kOutputs;
  // The groups of a warp stay together, for they exchange sums.
  for (int index = first_run(); index - thread % 32 / kLanes < runs.count; index += run_step()) {
    const Run run(runs, index);
    const float* const p = bottom.pixel(run.n, run.h, run.w);
    float sum[kSums] = {};
    for (int first = 0; first < bottom.c; first += kWidth) {
      const int channel = first + 4 * lane;
      float x[kRun][4];
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
        const int left = i < run.pixels ? bottom.c - channel : 0;
        spread(load_quad<kVector>(left > 0 ? p + i * bottom.pixel_stride + channel : bottom.data,
                                  left),
               x[i]);
      }
#pragma unroll
      for (int oc = 0; oc < kOutputs; ++oc) {
        float f[4];
        spread(load4(&filter[oc * padded + channel]), f);
#pragma unroll
        for (int i = 0; i < kRun; ++i) {
#pragma unroll
          for (int c = 0; c < 4; ++c) sum[i * kOutputs + oc] += x[i][c] * f[c];
        }
      }
    }
    float value = scatter_sums(sum, lane);
    if (pixel < run.pixels && output < top.c) {
      if (bias.data != nullptr) value += bias.data[output];
      if (relu.on && !(value > 0.0f)) value *= relu.negative_slope;
      top.pixel(run.n, run.h, run.w + pixel)[output] = value;
    }
  }
}

template <int kOutputs, bool kVector>
__global__ void __launch_bounds__(kThreads)
    spread_diffs(Runs<8> runs, ConstView top_diff, ConstFilter weight, View bottom_diff) {
  const int channel = blockIdx.y * kWidth + threadIdx.x % kLanes * 4;
  const int left = bottom_diff.c - channel;
  float filter[kOutputs][4];
#pragma unroll
  for (int oc = 0; oc < kOutputs; ++oc) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      filter[oc][c] = oc < weight.oc && c < left
                          ? weight.tap(0, 0)[std::ptrdiff_t(channel + c) * weight.oc + oc]
                          : 0.0f;
    }
  }
  for (int index = first_run(); index < runs.count; index += run_step()) {
    const Run run(runs, index);
    const float* d = top_diff.pixel(run.n, run.h, run.w);
    float* p = bottom_diff.pixel(run.n, run.h, run.w) + channel;
    for (int i = 0; i < run.pixels; ++i) {
      float sum[4] = {};
#pragma unroll
      for (int oc = 0; oc < kOutputs; ++oc) {
        if (oc >= weight.oc) break;
#pragma unroll
        for (int c = 0; c < 4; ++c) sum[c] += filter[oc][c] * d[oc];
      }
      if constexpr (kVector) {
        if (left > 0) store4(p, make_float4(sum[0], sum[1], sum[2], sum[3]));
      } else {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          if (c < left) p[c] = sum[c];
        }
      }
      d += top_diff.pixel_stride;
      p += bottom_diff.pixel_stride;
    }
  }
}

struct GroupSums {
  float of[kGroups][kWidth];
};

template <int kOutputs, bool kVector>
__global__ void __launch_bounds__(kThreads, 2)
    correlate_few(Runs<8> runs, ConstView bottom, ConstView top_diff, float* partial) {
  auto& groups = shared_memory<GroupSums>();
  const int thread = threadIdx.x, lane = thread % kLanes, OC = top_diff.c;
  const int channel = blockIdx.y * kWidth + 4 * lane, left = bottom.c - channel;
  float sum[kOutputs][4] = {};
  for (int index = first_run(); index < runs.count; index += run_step()) {
    const Run run(runs, index);
    const float* const p = bottom.pixel(run.n, run.h, run.w) + channel;
    const float* const d = top_diff.pixel(run.n, run.h, run.w);
#pragma unroll 4
    for (int i = 0; i < run.pixels; ++i) {
      float x[4];
      spread(load_quad<kVector>(left > 0 ? p + i * bottom.pixel_stride : bottom.data, left), x);
#pragma unroll
      for (int oc = 0; oc < kOutputs; ++oc) {
        if (oc >= OC) break;
        const float diff = d[i * top_diff.pixel_stride + oc];
#pragma unroll
        for (int c = 0; c < 4; ++c) sum[oc][c] += x[c] * diff;
      }
    }
  }

  float* const to = partial + std::ptrdiff_t(blockIdx.x) * bottom.c * OC;  // [IC][OC]
  const int column = blockIdx.y * kWidth + thread;
#pragma unroll
  for (int oc = 0; oc < kOutputs; ++oc) {
    if (oc >= OC) break;
    store4(&groups.of[thread / kLanes][4 * lane],
           make_float4(sum[oc][0], sum[oc][1], sum[oc][2], sum[oc][3]));
    __syncthreads();
    if (thread < kWidth && column < bottom.c) {
      float total = 0;
      for (int group = 0; group < kGroups; ++group) total += groups.of[group][thread];
      to[std::ptrdiff_t(column) * OC + oc] = total;
    }
    __syncthreads();
  }
}

int channel_tiles(int IC) { return (IC + kWidth - 1) / kWidth; }

// Blocks for all runs, but no more than the device holds at a time.
template <int kRun>
int blocks_of(const Runs<kRun>& runs, int tiles) {
  const int all = (runs.count + kGroups - 1) / kGroups;
  const int most = (4 * kFillingBlocks + tiles - 1) / tiles;
  return all < most ? all : most;
}

// Splits of backward_weights: as many blocks, but with several runs for each group.
int splits_of(int N, int IC, int H, int W) {
  const std::ptrdiff_t runs = std::ptrdiff_t(N) * H * ((W + 7) / 8);
  const std::ptrdiff_t all = (runs + 2 * kGroups - 1) / (2 * kGroups);
  const int most = (kFillingBlocks + channel_tiles(IC) - 1) / channel_tiles(IC);
  return int(all < most ? all : most);
}

template <int kOutputs>
struct Kernels {
  static void forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
                      FusedRelu relu, View top) {
    const Runs<kSums / kOutputs> runs(bottom);
    const auto kernel =
        has_quads(bottom) ? dot_products<kOutputs, true> : dot_products<kOutputs, false>;
    const std::size_t bytes = sizeof(float) * kOutputs * kWidth * channel_tiles(bottom.c);
    UNET_CUDA(launch("conv1x1_forward", kernel, unsigned(blocks_of(runs, 1)), kThreads, bytes,
                     stream_of(ctx), runs, bottom, weight, bias, relu, top));
  }
  static void backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                            View bottom_diff) {
    const Runs<8> runs(bottom_diff);
    const int tiles = channel_tiles(bottom_diff.c);
    const auto kernel =
        has_quads(bottom_diff) ? spread_diffs<kOutputs, true> : spread_diffs<kOutputs, false>;
    UNET_CUDA(launch("conv1x1_backward_data", kernel,
                     dim3(unsigned(blocks_of(runs, tiles)), unsigned(tiles)), kThreads, 0,
                     stream_of(ctx), runs, top_diff, weight, bottom_diff));
  }
  static void backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff,
                               bool accumulate, float* partial, Filter weight_diff) {
    const int splits = splits_of(bottom.n, bottom.c, bottom.h, bottom.w);
    const auto kernel =
        has_quads(bottom) ? correlate_few<kOutputs, true> : correlate_few<kOutputs, false>;
    UNET_CUDA(launch("conv1x1_backward_weights", kernel,
                     dim3(unsigned(splits), unsigned(channel_tiles(bottom.c))), kThreads,
                     sizeof(GroupSums), stream_of(ctx), Runs<8>(bottom), bottom, top_diff,
                     partial));
    launch_add_splits(ctx, std::ptrdiff_t(bottom.c) * top_diff.c, partial, splits, accumulate,
                      weight_diff.data);
  }
};

// The smallest that has OC outputs. More sizes would be machine code for nothing: with any of these
// the blobs take longer than the sums.
int outputs_of(int OC) { return OC <= 2 ? 2 : OC <= 4 ? 4 : kMostOutputs; }

// Calls f of the kernels for OC outputs.
template <class F>
void with_kernels(int OC, F f) {
  const int outputs = outputs_of(OC);
  if (outputs == 2) return f(Kernels<2>());
  if (outputs == 4) return f(Kernels<4>());
  f(Kernels<kMostOutputs>());
}

}  // namespace

bool takes(int IC, int OC) {
  return OC <= kMostOutputs && outputs_of(OC) * kWidth * channel_tiles(IC) <= kMostFilter;
}

void forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
             FusedRelu relu, View top) {
  with_kernels(top.c, [&](auto kernels) { kernels.forward(ctx, bottom, weight, bias, relu, top); });
}

void backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight, View bottom_diff) {
  with_kernels(top_diff.c,
               [&](auto kernels) { kernels.backward_data(ctx, top_diff, weight, bottom_diff); });
}

void backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff, bool accumulate,
                      float* partial, Filter weight_diff) {
  with_kernels(top_diff.c, [&](auto kernels) {
    kernels.backward_weights(ctx, bottom, top_diff, accumulate, partial, weight_diff);
  });
}

std::ptrdiff_t workspace(const Conv1x1Shape& shape) {
  return std::ptrdiff_t(splits_of(shape.n, shape.ic, shape.h, shape.w)) * shape.ic * shape.oc;
}

}  // namespace unet::UNET_GPU::conv1x1_few
