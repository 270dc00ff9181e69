// How forward and backward_data of conv3x3_winograd.cpp are cut. It may depend on the number of
// threads, for no sum does.
#pragma once

#include "cpu/winograd.h"
#include "cpu/winograd_cover.h"
#include "cpu/winograd_filters.h"

namespace unet::cpu::UNET_ISA::winograd {
namespace {

constexpr std::ptrdiff_t kMaxFilterFloats = 9 << 19;  // transformed filters kept whole: 19 MB
constexpr std::ptrdiff_t kMaxTileFloats = 4 << 20;    // V of the cut by channels: 16 MB
constexpr std::ptrdiff_t kBlockFloats = 112 << 10;    // V of a block of the cut by tiles: 448 KB
constexpr int kWindows = 8;                           // most that a thread transforms at a time
constexpr int kMaxBlock = 4 * kRows;                  // tiles of a block
constexpr int kFewRounds = 8;                         // of blocks, that threads begin together
constexpr int kPanelTiles = 112;                      // most tiles of M in the cut by channels
// Source channels whose filters are gathered at a time, of all panels taken together: with the next
// ones beside them in the L2 cache, without them, and in the cut by tiles.
constexpr int kStreamedChannels = 384;
constexpr int kChannels = 512;
constexpr int kBlockChannels = 128;
constexpr int kMaxGroup = 8;  // most panels that the cut by channels takes together,
constexpr std::ptrdiff_t kGroupFloats = 75 << 10;  // whose M is at most 300 KB
// The work on the filters of a position, in the products of so many tiles: measured at 10 to 32
// pixels, where the two sizes of tiles meet.
constexpr int kFilterTiles = 4;
// Where so few tiles are taken by channels, filters are transformed in registers
// (cpu/winograd_few_tiles.h), which is then less work; gathered by channels as above.
constexpr int kFewTiles = UNET_LANES == 16 ? 12 : 0;
constexpr int kFilterTilesOfFew = 2;
constexpr int kFewTilesChannels = 128;
constexpr int kFewTilesGroup = 4;
constexpr int kGap = 16;  // floats between positions, lest all fall into one cache set

// Tiles of the image, from `first` on, of which V holds the first one in its row t.
struct TileRows {
  int first, t, count;
};

// What a thread does at a time in the cut by channels: the products of the filters from channel k
// on, of a group of panels from p on, with the tiles from `begin` on.
struct Turn {
  int p, begin, k;
};

// The shape of one correlation and how it is cut.
template <class F>
struct Plan {
  static constexpr int kPositions = F::kPositions;
  int K, columns;
  Cover<F> cover;
  int panels;
  bool by_tiles, few_tiles;
  int block;                                // tiles transformed together
  int group = 1;                            // panels taken together, by channels
  int chunk;                                // channels whose filters are gathered together
  std::ptrdiff_t row, position;             // floats of V: of a tile, of a position
  std::ptrdiff_t product_row;               // of M: of a tile
  std::ptrdiff_t filter_stride;             // of a position of a panel of U
  std::ptrdiff_t taps;                      // floats gathered, of all panels taken together: for
                                            //   the products and, by channels, the next ones
  std::ptrdiff_t filters, tiles, products;  // floats: U or H, V, M

  std::ptrdiff_t product_stride(int tiles) const { return tiles * product_row + kGap; }

  // The size of nearly equal parts of `count`, each at most `most`.
  static int even(int count, int most) {
    return static_cast<int>(ceil_div(count, ceil_div(count, most)));
  }

  // The same of channels, in whole cache lines.
  static int even_chunk(int channels, int most) {
    return min(channels, static_cast<int>(round_up(even(channels, most), kLine)));
  }

  // in_order: as the filters have it.
  Plan(int threads, int images, int target_h, int target_w, int k, int n, bool in_order)
      : K(k), columns(n), cover(images, target_h, target_w) {
    panels = static_cast<int>(ceil_div(n, kPanel));
    row = row_length(k);
    filter_stride = static_cast<std::ptrdiff_t>(k) * kPanel + kGap;
    filters = kPositions * filter_stride * panels;
    // Whichever is less is kept whole, U or V, unless that leaves threads without work.
    by_tiles = filters <= kMaxFilterFloats && (cover.count() >= n || panels < threads);
    few_tiles = !by_tiles && cover.count() <= kFewTiles;
    product_row = by_tiles && n <= kLanes ? kLanes : kPanel;
    if (by_tiles) {
      const auto fit = kBlockFloats / (kPositions * row) / kRows * kRows;
      block = static_cast<int>(max<std::ptrdiff_t>(kRows, min<std::ptrdiff_t>(fit, kMaxBlock)));
      // Of few blocks, as many for each thread.
      const int rounds = static_cast<int>(ceil_div(ceil_div(cover.count(), block), threads));
      if (rounds <= kFewRounds) block = static_cast<int>(ceil_div(cover.count(), rounds * threads));
      products = kPositions * product_stride(block);
      chunk = even_chunk(k, kBlockChannels);
    } else {
      const auto fit = kMaxTileFloats / (kPositions * row) / kRows * kRows;
      block = even(cover.count(), static_cast<int>(max<std::ptrdiff_t>(fit, kPanelTiles)));
      const auto fits = [&](int group) {
        if (group * threads > panels) return false;
        if (few_tiles) return group <= kFewTilesGroup;
        return group <= kMaxGroup && group * cover.count() <= kPanelTiles &&
               group * kPositions * product_stride(cover.count()) <= kGroupFloats;
      };
      while (in_order && fits(2 * group)) group *= 2;
      const int channels = few_tiles ? kFewTilesChannels : in_order ? kStreamedChannels : kChannels;
      chunk = even_chunk(k, channels / group);
      filter_stride = static_cast<std::ptrdiff_t>(chunk) * kPanel + kGap;
      filters = few_tiles ? F::kWindow * group * kVectors * 3 * half_length(chunk)
                          : 2 * F::kWindow * filter_stride;
      products =
          group * kPositions * product_stride(few_tiles ? cover.count() : kPanelTiles / group);
    }
    taps = (by_tiles || !in_order ? 1 : 2) * group * panel_taps(chunk);
    position = position_length(block * row);
    tiles = kPositions * position;
  }

  // Those of some tiles that have the position p, counted from the first of them.
  Tiles of_position(int p, const TileRows& tiles) const {
    const Tiles all = cover.of_position(p / F::kWindow, p % F::kWindow);
    const int begin = max(all.begin - tiles.first, 0);
    return {begin, max(begin, min(all.end - tiles.first, tiles.count))};
  }

  // Those of block b of the cut by tiles: none beyond the last one.
  TileRows tiles_of_block(int b) const {
    const int first = min(b * block, cover.count());
    return {first, 0, min(block, cover.count() - first)};
  }

  // Floats of M from one panel of a group to the next.
  std::ptrdiff_t panel_products() const { return products / group; }

  FilterPart part(const Turn& turn) const {
    return {turn.k, min(chunk, K - turn.k), turn.p * kPanel, min(group, panels - turn.p)};
  }
  // How many of `tiles` tiles a turn takes.
  int count(const Turn& turn, int tiles) const {
    return min(even(tiles, kPanelTiles), tiles - turn.begin);
  }
  // Whether there is another turn for the same panels, and which.
  bool advance(Turn& turn, int tiles) const {
    turn.k += chunk;
    if (turn.k < K) return true;
    turn.k = 0;
    turn.begin += even(tiles, kPanelTiles);
    return turn.begin < tiles;
  }

  std::ptrdiff_t workspace(int threads) const {
    return by_tiles ? filters + threads * (taps + tiles + products)
                    : tiles + threads * (taps + filters + products);
  }
};

}  // namespace
}  // namespace unet::cpu::UNET_ISA::winograd
