// Which tile a product of matrices is cut into, and into how many parts along its common dimension.
//
// A static model, in cycles of a multiprocessor: all blocks cost the same, the busiest
// multiprocessor has ceil(blocks / multiprocessors) of them, and with several parts another kernel
// reads the partial sums. Few tiles of a deep layer leave multiprocessors idle, so that a smaller
// tile or several parts pay: 28 x 28 pixels and 1024 channels are 56 tiles of 128 x 128.
//
// The choice depends on sizes and the number of multiprocessors alone: the same bits at each run on
// a device.
#pragma once

#include <cstddef>

#include "cuda/language.h"

namespace unet::UNET_GPU {

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
};

enum class Splitting { kNever, kMay, kAlways };  // kAlways: one part is a partial sum too

inline std::ptrdiff_t parts_of(std::ptrdiff_t count, std::ptrdiff_t size) {
  return (count + size - 1) / size;
}

// The cheapest by the model; among equals the first tile and the fewest parts.
template <int kTiles>
TilePlan plan_tiles(const Tile (&tiles)[kTiles], const ProductSize& size, Splitting splitting,
                    int multiprocessors) {
  constexpr std::ptrdiff_t kStart = 1500;        // of a block: the first step's way from memory
  constexpr std::ptrdiff_t kLaunch = 4000;       // of the kernel that adds the parts
  constexpr std::ptrdiff_t kBytesPerCycle = 16;  // of a multiprocessor, to and from the L2 cache
  constexpr std::ptrdiff_t kLeastSteps = 4, kMostSplits = 512;
  const std::ptrdiff_t most = splitting == Splitting::kNever ? 1 : size.steps / kLeastSteps;
  TilePlan best;
  std::ptrdiff_t least = -1;
  for (int i = 0; i < kTiles; ++i) {
    const Tile& tile = tiles[i];
    const std::ptrdiff_t count =
        parts_of(size.rows, tile.rows) * parts_of(size.columns, tile.columns);
    const std::ptrdiff_t store = std::ptrdiff_t(tile.rows) * tile.columns * 4 / kBytesPerCycle;
    for (std::ptrdiff_t wish = 1; wish == 1 || (wish <= most && wish <= kMostSplits); ++wish) {
      const std::ptrdiff_t each = parts_of(size.steps, wish), splits = parts_of(size.steps, each);
      std::ptrdiff_t cost =
          parts_of(count * splits, multiprocessors) * (kStart + each * tile.cycles + store);
      if (splits > 1 || splitting == Splitting::kAlways) {
        const std::ptrdiff_t bytes = size.rows * size.columns * 4 * (splits + 1);
        cost += kLaunch + parts_of(bytes, multiprocessors * kBytesPerCycle);
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
