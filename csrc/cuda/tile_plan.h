// Which tile a product of matrices is cut into, and how many splits of its common dimension.
//
// A static model, in cycles of a multiprocessor: all blocks cost the same, the busiest
// multiprocessor has ceil(blocks / multiprocessors) of them, and with several splits another kernel
// reads the partial sums. Few tiles of a deep layer leave multiprocessors idle, so that a smaller
// tile or several splits pay: 28 x 28 pixels and 1024 channels are 56 tiles of 128 x 128.
//
// The choice depends on sizes and the number of multiprocessors alone: the same bits at each run on
// a device.
#pragma once

#include <cstddef>

#include "cuda/language.h"

namespace unet::UNET_GPU {

enum class Splitting { kNever, kMay, kAlways };  // kAlways: one split is a partial sum too

struct TilePlan {
  int tile = 0;  // which of those offered
  int splits = 1;
  int steps = 0;  // of each split but the last
};

namespace {

struct Tile {
  int rows, columns;
  int cycles;  // that a step takes a multiprocessor
};

struct ProductSize {
  std::ptrdiff_t rows, columns, steps;
  std::ptrdiff_t parts = 1;  // as many products of this size, in one launch
};

inline std::ptrdiff_t ceil_div(std::ptrdiff_t count, std::ptrdiff_t size) {
  return (count + size - 1) / size;
}

// The cheapest by the model; among equals the first tile and the fewest splits.
template <int kTiles>
TilePlan plan_tiles(const Tile (&tiles)[kTiles], const ProductSize& size, Splitting splitting,
                    int multiprocessors) {
  constexpr std::ptrdiff_t kStart = 1500;        // of a block: the first step's way from memory
  constexpr std::ptrdiff_t kLaunch = 4000;       // of the kernel that adds the splits
  constexpr std::ptrdiff_t kBytesPerCycle = 16;  // of a multiprocessor, to and from the L2 cache
  constexpr std::ptrdiff_t kLeastSteps = 4, kMostSplits = 512;
  const std::ptrdiff_t most = splitting == Splitting::kNever ? 1 : size.steps / kLeastSteps;
  TilePlan best;
  std::ptrdiff_t least = -1;
  for (int i = 0; i < kTiles; ++i) {
    const Tile& tile = tiles[i];
    const std::ptrdiff_t count =
        ceil_div(size.rows, tile.rows) * ceil_div(size.columns, tile.columns) * size.parts;
    const std::ptrdiff_t store = std::ptrdiff_t(tile.rows) * tile.columns * 4 / kBytesPerCycle;
    for (std::ptrdiff_t wish = 1; wish == 1 || (wish <= most && wish <= kMostSplits); ++wish) {
      const std::ptrdiff_t each = ceil_div(size.steps, wish), splits = ceil_div(size.steps, each);
      std::ptrdiff_t cost =
          ceil_div(count * splits, multiprocessors) * (kStart + each * tile.cycles + store);
      if (splits > 1 || splitting == Splitting::kAlways) {
        const std::ptrdiff_t bytes = size.rows * size.columns * size.parts * 4 * (splits + 1);
        cost += kLaunch + ceil_div(bytes, multiprocessors * kBytesPerCycle);
      }
      if (least >= 0 && cost >= least) continue;
      least = cost;
      best = {i, int(splits), int(each)};
    }
  }
  return best;
}

}  // namespace
}  // namespace unet::UNET_GPU
