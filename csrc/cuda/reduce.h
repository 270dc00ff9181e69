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
#include "cuda/check.h"

namespace unet::UNET_GPU {
namespace {

constexpr int kReduceThreads = 256;
constexpr int kFillingBlocks = 264;  // twice the 132 multiprocessors of the largest devices

// --- in a block ---

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

struct ReduceSlots {
  float sum[kReduceThreads];
};

struct Plus {
  template <class T>
  __device__ __forceinline__ T operator()(const T& a, const T& b) const {
    return a + b;
  }
};

// --- of splits ---

struct Splits {
  int count, pixels;  // of each but the last
};

// Cuts a sum over `pixels` so that the blocks of all splits, `tiles` for each, fill a device, but
// into splits of at least 64 pixels, all of them whole steps.
inline Splits split_pixels(std::ptrdiff_t pixels, std::ptrdiff_t tiles, int step) {
  constexpr std::ptrdiff_t kLeast = 64;
  const std::ptrdiff_t wanted = (kFillingBlocks + tiles - 1) / tiles;
  const std::ptrdiff_t most = (pixels + kLeast - 1) / kLeast;
  const std::ptrdiff_t count = wanted < most ? wanted : most;
  const std::ptrdiff_t each = ((pixels + count - 1) / count + step - 1) / step * step;
  return {int((pixels + each - 1) / each), int(each)};
}

// to[i] (+)= sum_s partial[s * size + i], by blockDim.x elements in blockDim.y slices of the
// splits.
__global__ void __launch_bounds__(kReduceThreads)
    add_splits(std::ptrdiff_t size, const float* partial, int splits, bool accumulate, float* to) {
  auto& slots = shared_memory<ReduceSlots>();
  const std::ptrdiff_t i = std::ptrdiff_t(blockIdx.x) * blockDim.x + threadIdx.x;
  float sum = 0;
  if (i < size) {
#pragma unroll 4
    for (int s = threadIdx.y; s < splits; s += blockDim.y) sum += partial[s * size + i];
  }
  sum = add_slices(slots.sum, sum, Plus());
  if (threadIdx.y == 0 && i < size) to[i] = accumulate ? to[i] + sum : sum;
}

inline void launch_add_splits(const Context& ctx, std::ptrdiff_t size, const float* partial,
                              int splits, bool accumulate, float* to) {
  const int slices = splits < 32 ? 1 : 8, elements = kReduceThreads / slices;
  UNET_CUDA(launch("add_splits", add_splits, unsigned((size + elements - 1) / elements),
                   dim3(unsigned(elements), unsigned(slices)), sizeof(ReduceSlots), stream_of(ctx),
                   size, partial, splits, accumulate, to));
}

// --- over the pixels of a blob ---

// The sums over the rows r, r + splits, .. of all images into partial[split][C]. A block takes
// blockDim.x channels, and blockDim.y pixels of a row at a time.
__global__ void __launch_bounds__(kReduceThreads) sum_channels(ConstView blob, float* partial) {
  auto& slots = shared_memory<ReduceSlots>();
  const int channel = blockIdx.x * blockDim.x + threadIdx.x;
  float sum = 0;
  if (channel < blob.c) {
    for (int row = blockIdx.y; row < blob.n * blob.h; row += gridDim.y) {
      const float* p = blob.pixel(row / blob.h, row % blob.h, 0) + channel;
#pragma unroll 8
      for (int w = threadIdx.y; w < blob.w; w += blockDim.y) sum += p[w * blob.pixel_stride];
    }
  }
  sum = add_slices(slots.sum, sum, Plus());
  if (threadIdx.y == 0 && channel < blob.c) {
    partial[std::ptrdiff_t(blockIdx.y) * blob.c + channel] = sum;
  }
}

struct ChannelGrid {
  int channels, tiles, splits;  // of a block, blocks for all channels, of the rows

  ChannelGrid(int c, std::ptrdiff_t rows) : channels(1) {
    while (channels < c && channels < 32) channels *= 2;
    tiles = (c + channels - 1) / channels;
    const std::ptrdiff_t wanted = (2 * kFillingBlocks + tiles - 1) / tiles;
    splits = int(rows < wanted ? rows : wanted);
  }
};

// Floats of workspace that bias_backward needs for OC channels of N images with H rows.
inline std::ptrdiff_t bias_workspace(int N, int OC, int H) {
  return std::ptrdiff_t(ChannelGrid(OC, std::ptrdiff_t(N) * H).splits) * OC;
}

// bias_diff[oc] (+)= sum of top_diff over all pixels, for every op with a bias.
inline void bias_backward(const Context& ctx, ConstView top_diff, bool accumulate, float* partial,
                          Span bias_diff) {
  const ChannelGrid grid(top_diff.c, std::ptrdiff_t(top_diff.n) * top_diff.h);
  const dim3 block(unsigned(grid.channels), unsigned(kReduceThreads / grid.channels));
  UNET_CUDA(launch("sum_channels", sum_channels, dim3(unsigned(grid.tiles), unsigned(grid.splits)),
                   block, sizeof(ReduceSlots), stream_of(ctx), top_diff, partial));
  launch_add_splits(ctx, top_diff.c, partial, grid.splits, accumulate, bias_diff.data);
}

}  // namespace
}  // namespace unet::UNET_GPU
