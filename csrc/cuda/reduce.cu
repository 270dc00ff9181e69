// The sums of cuda/reduce.h.
#include "cuda/check.h"
#include "cuda/reduce.h"

namespace unet::UNET_GPU {
namespace {

struct ReduceSlots {
  float sum[kReduceThreads];
};

// By blockDim.x elements in blockDim.y slices of the splits.
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

}  // namespace

void launch_add_splits(const Context& ctx, std::ptrdiff_t size, const float* partial, int splits,
                       bool accumulate, float* to) {
  const int slices = splits < 32 ? 1 : 8, elements = kReduceThreads / slices;
  UNET_CUDA(launch("add_splits", add_splits, unsigned((size + elements - 1) / elements),
                   dim3(unsigned(elements), unsigned(slices)), sizeof(ReduceSlots), stream_of(ctx),
                   size, partial, splits, accumulate, to));
}

std::ptrdiff_t bias_workspace(int N, int OC, int H) {
  return std::ptrdiff_t(ChannelGrid(OC, std::ptrdiff_t(N) * H).splits) * OC;
}

void bias_backward(const Context& ctx, ConstView top_diff, bool accumulate, float* partial,
                   Span bias_diff) {
  const ChannelGrid grid(top_diff.c, std::ptrdiff_t(top_diff.n) * top_diff.h);
  const dim3 block(unsigned(grid.channels), unsigned(kReduceThreads / grid.channels));
  UNET_CUDA(launch("sum_channels", sum_channels, dim3(unsigned(grid.tiles), unsigned(grid.splits)),
                   block, sizeof(ReduceSlots), stream_of(ctx), top_diff, partial));
  launch_add_splits(ctx, top_diff.c, partial, grid.splits, accumulate, bias_diff.data);
}

}  // namespace unet::UNET_GPU
