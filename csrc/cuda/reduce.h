// Sums over many pixels, without atomics: the same bits at each run.
//
// Blocks leave partial sums in the workspace, partial[split][size], and add_splits adds these. What
// is added to what, and in which order, depends on shapes alone. Backward passes use both steps, so
// that a reduction to a few numbers (the bias of two classes) occupies the whole device too.
//
// Cost: a sum of channels reads the blob once; add_splits reads splits * size floats.
#pragma once

#include "core/context.h"
#include "core/view.h"
#include "cuda/language.h"

namespace unet::UNET_GPU {

constexpr int kReduceThreads = 256;
constexpr int kFillingBlocks = 264;  // twice the 132 multiprocessors of the largest devices

// to[i] (+)= sum_s partial[s * size + i].
void launch_add_splits(const Context& ctx, std::ptrdiff_t size, const float* partial, int splits,
                       bool accumulate, float* to);

// bias_diff[oc] (+)= sum of top_diff over all pixels, for every op with a bias.
void bias_backward(const Context& ctx, ConstView top_diff, bool accumulate, float* partial,
                   Span bias_diff);
// Floats that its `partial` must have for OC channels of N images with H rows.
std::ptrdiff_t bias_workspace(int N, int OC, int H);

namespace {

// value + value of all threads with the same threadIdx.x, for each of them; blockDim.y is a power
// of two. `slots`, one for each thread, may be used again only after a barrier.
template <class T, class Add>
__device__ __forceinline__ T add_slices(T* slots, const T& value, Add add) {
  const int columns = blockDim.x, slice = threadIdx.y;
  T* const slot = slots + slice * columns + threadIdx.x;
  *slot = value;
  __syncthreads();
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    if (slice < half) *slot = add(*slot, slot[half * columns]);
    __syncthreads();
  }
  return slots[threadIdx.x];
}

struct Plus {
  template <class T>
  __device__ __forceinline__ T operator()(const T& a, const T& b) const {
    return a + b;
  }
};

}  // namespace
}  // namespace unet::UNET_GPU
