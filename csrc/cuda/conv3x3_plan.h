// Tiles and splits of conv3x3's products, by shape and device.
#pragma once

#include "cuda/device.h"
#include "cuda/tile_plan.h"
#include "ops/conv3x3.h"

namespace unet::UNET_GPU {
namespace {

// Cycles of a step in the static models of gemm.h and gemm_tensor.h. The largest tile comes first;
// conv3x3.cu and conv3x3_tensor.cu list their kernels in this order. The exact product's smaller
// tile reads more of the L2 cache for the same work.
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

// forward: `from` channels of bottom, `to` channels of top, `pixels` of top; backward_data
// likewise. Direct sums go in one order whatever the shape: they are never split.
inline TilePlan plan_convolve(const Context& ctx, int from, int to, std::ptrdiff_t pixels,
                              Algorithm algorithm) {
  return plan_product(ctx, {pixels, to, 9 * parts_of(from, step_depth(ctx.math))},
                      algorithm == Algorithm::kDirect ? Splitting::kNever : Splitting::kMay);
}

inline TilePlan plan_correlate(const Context& ctx, int IC, int OC, std::ptrdiff_t pixels) {
  return plan_product(ctx, {9 * parts_of(IC, 4) * 4, OC, parts_of(pixels, step_depth(ctx.math))},
                      Splitting::kAlways);
}

}  // namespace
}  // namespace unet::UNET_GPU
