// How backward_weights of conv3x3_winograd_weights.cpp is cut. The number of threads decides only
// where a slab is cut into blocks, not about the order of a sum.
//
// Positions against the two others, time on Zen 4 with two threads: 0.68 for 128 to 256 channels of
// 138 pixels, 0.72 for 512 to 256 of 102, 0.86 for 256 to 256 of 248.
#pragma once

#include "cpu/gemm.h"
#include "cpu/winograd.h"
#include "ops/conv3x3.h"

namespace unet::cpu::UNET_ISA::winograd {
namespace {

constexpr std::ptrdiff_t kFewSums = 3 << 18;     // S of a split that stays near: 3 MB
constexpr std::ptrdiff_t kNearFloats = 3 << 20;  // V and D that slabs keep near: 12 MB
constexpr std::ptrdiff_t kSumFloats = 3 << 21;   // S of all splits together: 24 MB
constexpr int kMaxSplits = 16;
constexpr int kSplitChannels = 128;               // input channels that one thread takes
constexpr std::ptrdiff_t kChunkFloats = 5 << 17;  // V and D of a chunk of tiles: 2.6 MB
constexpr std::ptrdiff_t kFarFloats = 1 << 24;    // the same of positions: 67 MB
constexpr std::ptrdiff_t kSlabSums = 5 << 20;     // S of a slab of positions: 21 MB
constexpr int kSumsWorth = 4;                     // V and D, at least, per S that positions write
constexpr std::ptrdiff_t kSlabFloats = 5 << 19;   // V of a slab of channels: 10 MB
constexpr int kSlabRows = 8 * kRows;              // input channels that a slab has at least
constexpr int kBlockRows = 128;                   // most input channels of a block of S
constexpr int kBlockPanels = 2;                   // panels of output channels of a block of S
constexpr int kBlocks = 2;                        // blocks that a slab has at least for each thread

enum class Cut { kSplits, kPositions, kSlabs };

template <class F>
struct WeightsPlan {
  int IC, OC;
  TileGrid grid;
  Cut cut;
  int splits = 1;
  int chunk;                              // tiles in V and D
  int slab;                               // input channels in V
  int block_rows = 0;                     // input channels of a block of S
  int s_row;                              // floats of a row of S
  std::ptrdiff_t v_row, d_row;            // floats of a row of V, D
  std::ptrdiff_t v_position, d_position;  // from one position of V, D to the next
  std::ptrdiff_t v_size, d_size, s_size;  // floats of V, D, S (slabs: of one thread's block of S)

  WeightsPlan(const Conv3x3Shape& shape, int threads)
      : IC(shape.ic), OC(shape.oc), grid(F::kTile, shape.n, shape.ih - 2, shape.iw - 2) {
    s_row = static_cast<int>(round_up(OC, kLanes));
    d_row = row_length(OC);
    const std::ptrdiff_t column_blocks = ceil_div(OC, kBlockPanels * kPanel);
    const bool cuts_well = ceil_div(IC, kRows) * column_blocks >= 4;
    const bool is_near = cuts_well && floats_with(IC, grid.count()) <= kNearFloats;
    if (!is_near && sums_of(min(IC, kSplitChannels)) <= kFewSums) {
      cut_splits();
    } else {
      cut_slabs(column_blocks, threads);
      if (!is_near && kSumsWorth * sums_of(slab) <= floats_with(slab, grid.count())) {
        cut_positions();
      }
    }
    v_row = row_length(slab);
    v_position = position_length(chunk * v_row);
    d_position = position_length(chunk * d_row);
    v_size = F::kPositions * v_position;
    d_size = F::kPositions * d_position;
  }

  std::ptrdiff_t workspace(int threads) const {
    const std::ptrdiff_t both = v_size + d_size;
    switch (cut) {
      case Cut::kSplits:
        return splits * s_size + threads * both;
      case Cut::kPositions:
        return both + s_size;
      case Cut::kSlabs:
        break;
    }
    return both + threads * s_size;
  }

 private:
  // V of some channels and D.
  std::ptrdiff_t floats_with(int channels, int tiles) const {
    return static_cast<std::ptrdiff_t>(F::kPositions) * tiles * (row_length(channels) + d_row);
  }
  std::ptrdiff_t sums_of(int channels) const {
    return static_cast<std::ptrdiff_t>(F::kPositions) * channels * round_up(OC, kLanes);
  }
  // The channels cut into slabs of about `size` that are nearly equal.
  void cut_channels(std::ptrdiff_t size) {
    const std::ptrdiff_t slabs = max<std::ptrdiff_t>(1, IC / size);
    slab = static_cast<int>(min<std::ptrdiff_t>(IC, round_up(ceil_div(IC, slabs), kLine)));
  }

  void cut_splits() {
    cut = Cut::kSplits;
    slab = min(IC, kSplitChannels);
    chunk = static_cast<int>(kChunkFloats / floats_with(slab, 1));
    chunk = min(max(chunk, 32), grid.count());
    splits = static_cast<int>(min<std::ptrdiff_t>(kSumFloats / sums_of(IC), kMaxSplits));
    splits = static_cast<int>(min<std::ptrdiff_t>(splits, ceil_div(grid.count(), chunk)));
    s_size = sums_of(IC) + s_row;  // a last row: the sums of the top_diff
  }

  void cut_slabs(std::ptrdiff_t column_blocks, int threads) {
    cut = Cut::kSlabs;
    chunk = grid.count();
    const auto fit = kSlabFloats / (static_cast<std::ptrdiff_t>(F::kPositions) * chunk);
    cut_channels(max<std::ptrdiff_t>(1, (fit - 16) / kSlabRows) * kSlabRows);
    const auto blocks = max(ceil_div(slab, kBlockRows), ceil_div(kBlocks * threads, column_blocks));
    block_rows = static_cast<int>(max<std::ptrdiff_t>(ceil_div(slab, blocks), kRows));
    s_row = kBlockPanels * kPanel;
    s_size = static_cast<std::ptrdiff_t>(F::kPositions) * block_rows * s_row;
  }

  void cut_positions() {
    cut = Cut::kPositions;
    s_row = static_cast<int>(round_up(OC, kLanes));
    cut_channels(max<std::ptrdiff_t>(kLine, kSlabSums / sums_of(1)));
    chunk = static_cast<int>(max<std::ptrdiff_t>(kRows, kFarFloats / floats_with(slab, 1)));
    const auto chunks = ceil_div(grid.count(), chunk);
    chunk = static_cast<int>(ceil_div(grid.count(), chunks));
    s_size = sums_of(slab) + s_row;  // a last row, as above
  }
};

}  // namespace
}  // namespace unet::cpu::UNET_ISA::winograd
