// Tiles and splits of convolutions, by shape and device.
#pragma once

#include "cuda/convolution.h"
#include "cuda/device.h"

namespace unet::UNET_GPU {
namespace {

// Cycles of a step in the static models of gemm.h and gemm_tensor.h. The largest tile comes first;
// convolution.cu and convolution_tensor.cu list their kernels in this order. The exact product's
// smaller tile reads more of the L2 cache for the same work.
constexpr Tile kFp32Tiles[] = {{128, 128, 1024}, {128, 64, 544}};
constexpr Tile kTf32Tiles[] = {{128, 128, 512}, {128, 64, 288}, {64, 64, 192}};
constexpr Tile kBf16Tiles[] = {{128, 128, 384}, {128, 64, 288}, {64, 64, 192}};

// Of the common dimension, in a step.
inline int step_depth(Math math) { return math == Math::kFp32 ? 8 : 16; }

inline TilePlan plan_product(const Context& ctx, const ProductSize& size, Splitting splitting) {
  const int count = multiprocessors();
  if (ctx.math == Math::kTf32) return plan_tiles(kTf32Tiles, size, splitting, count);
  if (ctx.math == Math::kBf16) return plan_tiles(kBf16Tiles, size, splitting, count);
  return plan_tiles(kFp32Tiles, size, splitting, count);
}

inline TilePlan plan_convolve(const Context& ctx, const ConvolutionSize& size,
                              Splitting splitting) {
  const std::ptrdiff_t steps = size.taps * ceil_div(size.from, step_depth(ctx.math));
  return plan_product(ctx, {size.pixels, size.to, steps, size.parts}, splitting);
}

inline TilePlan plan_correlate(const Context& ctx, const ConvolutionSize& size) {
  const std::ptrdiff_t rows = size.taps * ceil_div(size.from, 4) * 4;
  const std::ptrdiff_t steps = ceil_div(size.pixels, step_depth(ctx.math));
  return plan_product(ctx, {rows, size.to, steps, size.parts}, Splitting::kAlways);
}

}  // namespace
}  // namespace unet::UNET_GPU
