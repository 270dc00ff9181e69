// Elementwise kernels: a thread for each element of a blob (N, C, H, W), neighbouring threads on
// neighbouring channels, so that a warp reads and writes whole sectors wherever C is not tiny.
//
//   grid   x: the W*C elements of a row in blocks of 256   y: the N*H rows, as many as a grid takes
//
// The only division of an index is by C, in 32 bits.
#pragma once

#include "core/context.h"
#include "core/view.h"
#include "cuda/check.h"

namespace unet::UNET_GPU {
namespace {

constexpr unsigned kElementThreads = 256, kMostRows = 65535;

struct Extent {
  unsigned n, c, h, w;
};

template <class T>
Extent extent_of(const BasicView<T>& view) {
  return {unsigned(view.n), unsigned(view.c), unsigned(view.h), unsigned(view.w)};
}

// Calls body(n, c, h, w) for the elements of this thread.
template <class Body>
__device__ __forceinline__ void for_elements(const Extent& extent, Body body) {
  const unsigned i = blockIdx.x * kElementThreads + threadIdx.x;
  if (i >= extent.w * extent.c) return;
  const unsigned w = i / extent.c, c = i - w * extent.c;
  for (unsigned row = blockIdx.y; row < extent.n * extent.h; row += gridDim.y) {
    const unsigned n = row / extent.h;
    body(int(n), int(c), int(row - n * extent.h), int(w));
  }
}

// Launches a kernel whose first parameter is the Extent.
template <class... Parameters, class... Arguments>
void launch_elements(const Context& ctx, const LaunchName& name,
                     void (*kernel)(Extent, Parameters...), const Extent& extent,
                     const Arguments&... arguments) {
  const unsigned rows = extent.n * extent.h, row = extent.w * extent.c;
  const dim3 grid((row + kElementThreads - 1) / kElementThreads,
                  rows < kMostRows ? rows : kMostRows);
  UNET_CUDA(launch(name, kernel, grid, kElementThreads, 0, stream_of(ctx), extent, arguments...));
}

// The same for dense memory of `size` elements: a grid-stride loop.
template <class Body>
__device__ __forceinline__ void for_flat(std::ptrdiff_t size, Body body) {
  const std::ptrdiff_t step = std::ptrdiff_t(gridDim.x) * kElementThreads;
  for (std::ptrdiff_t i = std::ptrdiff_t(blockIdx.x) * kElementThreads + threadIdx.x; i < size;
       i += step) {
    body(i);
  }
}

template <class... Parameters, class... Arguments>
void launch_flat(const Context& ctx, const char* name,
                 void (*kernel)(std::ptrdiff_t, Parameters...), std::ptrdiff_t size,
                 const Arguments&... arguments) {
  constexpr std::ptrdiff_t kMostBlocks = 4096;
  const std::ptrdiff_t blocks = (size + kElementThreads - 1) / kElementThreads;
  const dim3 grid(unsigned(blocks < kMostBlocks ? blocks : kMostBlocks));
  if (size == 0) return;
  UNET_CUDA(launch(name, kernel, grid, kElementThreads, 0, stream_of(ctx), size, arguments...));
}

}  // namespace
}  // namespace unet::UNET_GPU
