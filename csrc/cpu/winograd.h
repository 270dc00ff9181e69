// Winograd's minimal filtering F(m x m, 3x3): an m x m tile of a 3x3 correlation from (m + 2)^2
// products per pair of channels instead of 9 m^2.
//
//   top tile      Y = At [ (G g Gt) . (Bt d B) ] A     d window of the bottom, g 3x3, Y m x m
//   filter diff  dg = Gt [ sum over tiles (Bt d B) . (A y At) ] G       y m x m of the top diff
//
// Two tile sizes, m = 4 and 6 (cpu/winograd_tiles.h), which the kernels take as their parameter F.
// "Position" is one of the 36 or 64 places in a transformed tile.
//
// Source  A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks (2015), section 4
#pragma once

#include "cpu/simd.h"
#include "cpu/winograd_tiles.h"
#include "ops/conv3x3.h"

namespace unet::cpu::UNET_ISA {
namespace {

// Whether an image is cut into the tiles of F6. Their `products`, over all positions, are fewer by
// a fifth than those of F4 where no tile sticks out; what has to be done for each position whatever
// the number of tiles, with filters or their sums, as much as the products of `extra` tiles, is
// more.
[[maybe_unused]] inline bool takes_large_tiles(Algorithm algorithm, std::ptrdiff_t products_of_f4,
                                               std::ptrdiff_t products_of_f6, int extra) {
  if (algorithm == Algorithm::kWinograd4x4) return false;
  if (algorithm == Algorithm::kWinograd6x6) return true;
  return products_of_f6 + F6::kPositions * extra < products_of_f4 + F4::kPositions * extra;
}

// Channels of a transformed row, padded so that rows of one position do not all fall into the same
// set of the L1 cache when the channel count is a power of two. Rows of one cache line cannot, and
// would take up twice the cache.
constexpr std::ptrdiff_t row_length(int channels) {
  return channels <= kLine ? kLine : round_up(channels, kLine) + kLine;
}

// Floats from one position to the next: an odd number of cache lines, so that the positions of a
// tile, which are written together, fall into different sets of the L1 cache.
constexpr std::ptrdiff_t position_length(std::ptrdiff_t floats) {
  return (ceil_div(floats, kLine) | 1) * kLine;
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA
