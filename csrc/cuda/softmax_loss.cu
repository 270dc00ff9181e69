// softmax_loss on a GPU: a thread for each pixel, which has few channels. Bound by memory.
//
//   count_labels      checks the labels and adds up weights and pixels that are not ignored, by
//                     blocks
//   weighted_losses   each block adds these sums, so knows Z, and gives gradient and loss of its
//                     pixels, which it reads once
//   finish            one block adds the losses and leaves a SoftmaxLoss in the workspace
//
// Which block takes which pixels depends on their number alone, and sums are of doubles in the
// order of cuda/reduce.h. Nothing waits for the device unless the loss is to be returned.
//
// Workspace  [SoftmaxLoss] [LabelSums of each block] [loss of each block], from a multiple of 8
//            bytes
// Cost       4*(2*C + 2) bytes a pixel with a gradient, and 8 more for counting
#include <cfloat>
#include <cmath>

#include "core/device_memory.h"
#include "cuda/check.h"
#include "cuda/reduce.h"
#include "ops/softmax_loss.h"

namespace unet::UNET_GPU {
namespace {

constexpr int kThreads = kReduceThreads, kMostBlocks = 2 * kFillingBlocks;
constexpr long long kNoPixel = 0x7fffffffffffffff;

struct LabelSums {
  double weight, valid;
  long long bad;  // first pixel whose label is none, or kNoPixel

  __device__ __forceinline__ LabelSums operator+(const LabelSums& other) const {
    return {weight + other.weight, valid + other.valid, bad < other.bad ? bad : other.bad};
  }
};

struct Workspace {
  SoftmaxLoss* result;
  LabelSums* sums;
  double* losses;
  int blocks;
};

struct Shared {
  LabelSums sums[kThreads];
  double losses[kThreads];
};

struct Problem {
  SoftmaxLossSetting setting;
  ConstView score, label, weight;
  const float* loss_diff;  // or null
  long long pixels;

  // Of a label: a bad one is no reason to spoil the gradient.
  __device__ __forceinline__ bool counts(float label) const {
    return !is_ignored(setting, label) && is_class(label, score.c);
  }
};

struct Place {
  int n, h, w;

  __device__ __forceinline__ Place(const ConstView& blob, long long pixel) {
    const long long row = pixel / blob.w;
    w = int(pixel - row * blob.w);
    n = int(row / blob.h);
    h = int(row - n * static_cast<long long>(blob.h));
  }
  template <class T>
  __device__ __forceinline__ T* in(const BasicView<T>& blob) const {
    return blob.pixel(n, h, w);
  }
};

// Calls body(pixel) for the pixels of this thread.
template <class Body>
__device__ __forceinline__ void for_pixels(const Problem& problem, Body body) {
  const long long step = static_cast<long long>(gridDim.x) * kThreads;
  for (long long i = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.y;
       i < problem.pixels; i += step) {
    body(i);
  }
}

__global__ void __launch_bounds__(kThreads) count_labels(Problem problem, Workspace workspace) {
  auto& shared = shared_memory<Shared>();
  LabelSums sums{0, 0, kNoPixel};
  for_pixels(problem, [&](long long i) {
    const Place at(problem.label, i);
    const float label = *at.in(problem.label);
    if (problem.counts(label)) {
      const double weight = problem.weight.data ? *at.in(problem.weight) : 1.0f;
      sums = sums + LabelSums{weight, 1, kNoPixel};
    } else if (!is_ignored(problem.setting, label)) {
      sums = sums + LabelSums{0, 0, i};
    }
  });
  sums = add_slices(shared.sums, sums, Plus());
  if (threadIdx.y == 0) workspace.sums[blockIdx.x] = sums;
}

// Of all blocks of count_labels, for each thread.
__device__ __forceinline__ LabelSums total_of(const Workspace& workspace, LabelSums* slots) {
  LabelSums sums{0, 0, kNoPixel};
  for (int i = threadIdx.y; i < workspace.blocks; i += kThreads) sums = sums + workspace.sums[i];
  return add_slices(slots, sums, Plus());
}

__device__ __forceinline__ double z_of(const Problem& problem, const LabelSums& total) {
  return normalizer(problem.setting.normalization, problem.score.n, double(problem.pixels),
                    total.valid, total.weight);
}

// Writes the outputs of a pixel, for each channel after its score was last read: they may lie where
// the scores do. Returns its weighted loss.
__device__ __forceinline__ double loss_of_pixel(const Problem& problem, const Place& at,
                                                float scale, View diff, View prob) {
  const int C = problem.score.c;
  const float label = *at.in(problem.label);
  const bool counts = problem.counts(label);
  const float* x = at.in(problem.score);
  float maximum = x[0], sum = 0, x_label = 0;
  for (int c = 1; c < C; ++c) maximum = x[c] > maximum ? x[c] : maximum;
  for (int c = 0; c < C; ++c) {
    sum += expf(x[c] - maximum);
    if (label == float(c)) x_label = x[c] - maximum;
  }
  const float weight = counts && problem.weight.data ? *at.in(problem.weight) : 1.0f;
  const float slope = weight * scale;
  if (diff.data || prob.data) {
    for (int c = 0; c < C; ++c) {
      const float p = expf(x[c] - maximum) / sum;
      if (prob.data) at.in(prob)[c] = p;
      if (diff.data) {
        at.in(diff)[c] = counts ? slope * (p - (label == float(c) ? 1.0f : 0.0f)) : 0.0f;
      }
    }
  }
  if (!counts) return 0;
  if (problem.weight.data) return double(weight) * (logf(sum) - x_label);
  const float p_label = expf(x_label) / sum;
  return -logf(p_label < FLT_MIN ? FLT_MIN : p_label);  // NaN stays NaN
}

__global__ void __launch_bounds__(kThreads, 4)
    weighted_losses(Problem problem, Workspace workspace, View diff, View prob) {
  auto& shared = shared_memory<Shared>();
  const double z = z_of(problem, total_of(workspace, shared.sums));
  const float loss_diff = problem.loss_diff != nullptr ? *problem.loss_diff : 1.0f;
  const float scale = z == 0 ? 0.0f : float(problem.setting.loss_weight * loss_diff / z);
  double loss = 0;
  for_pixels(problem, [&](long long i) {
    loss += loss_of_pixel(problem, Place(problem.label, i), scale, diff, prob);
  });
  loss = add_slices(shared.losses, loss, Plus());
  if (threadIdx.y == 0) workspace.losses[blockIdx.x] = loss;
}

__global__ void __launch_bounds__(kThreads)
    finish(Problem problem, Workspace workspace, float* shown) {
  auto& shared = shared_memory<Shared>();
  const LabelSums total = total_of(workspace, shared.sums);
  double loss = 0;
  for (int i = threadIdx.y; i < workspace.blocks; i += kThreads) loss += workspace.losses[i];
  loss = add_slices(shared.losses, loss, Plus());
  if (threadIdx.y != 0) return;
  const double z = z_of(problem, total);
  SoftmaxLoss result;
  result.loss = z == 0 ? 0 : loss / z;
  if (total.bad != kNoPixel) {
    result.bad_label = total.bad;
    result.bad_value = *Place(problem.label, total.bad).in(problem.label);
  }
  *workspace.result = result;
  if (shown != nullptr) *shown = result.bad_label < 0 ? float(result.loss) : NAN;
}

int blocks_for_pixels(std::ptrdiff_t pixels) {
  const std::ptrdiff_t blocks = (pixels + kThreads - 1) / kThreads;
  return int(blocks < kMostBlocks ? blocks : kMostBlocks);
}

Workspace workspace_at(float* memory, int blocks) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  auto* const result = reinterpret_cast<SoftmaxLoss*>((address + 7) / 8 * 8);
  auto* const sums = reinterpret_cast<LabelSums*>(result + 1);
  return {result, sums, reinterpret_cast<double*>(sums + blocks), blocks};
}

}  // namespace

SoftmaxLoss softmax_loss(const Context& ctx, SoftmaxLossSetting setting, ConstView score,
                         ConstView label, ConstView weight, ConstSpan loss_diff, Span memory,
                         Span loss, View bottom_diff, View prob) {
  const Problem problem{setting, score, label, weight, loss_diff.data, label.count()};
  const Workspace workspace = workspace_at(memory.data, blocks_for_pixels(label.count()));
  const dim3 block(1, kThreads);
  const auto run = [&](const char* name, auto kernel, int blocks, auto... outputs) {
    UNET_CUDA(launch(name, kernel, unsigned(blocks), block, sizeof(Shared), stream_of(ctx), problem,
                     workspace, outputs...));
  };
  run("softmax_loss: labels", count_labels, workspace.blocks);
  run("softmax_loss", weighted_losses, workspace.blocks, bottom_diff, prob);
  run("softmax_loss: sum", finish, 1, loss.data);
  SoftmaxLoss result;
  if (setting.wait) {
    device_memory.download(ctx, &result, workspace.result, sizeof result);
  }
  return result;
}

std::ptrdiff_t softmax_loss_workspace(const Context&, int N, int H, int W) {
  const int blocks = blocks_for_pixels(std::ptrdiff_t(N) * H * W);
  const std::size_t bytes = sizeof(SoftmaxLoss) + blocks * (sizeof(LabelSums) + sizeof(double));
  return std::ptrdiff_t(bytes / sizeof(float)) + 1;  // and up to a multiple of 8 bytes
}

}  // namespace unet::UNET_GPU
