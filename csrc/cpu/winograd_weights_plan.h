// How backward_weights of conv3x3_winograd_weights.cpp is cut: by the shape alone, never by the
// number of threads.
#pragma once

#include "cpu/gemm.h"
#include "cpu/winograd.h"
#include "ops/conv3x3.h"

namespace unet::cpu::UNET_ISA::winograd {
namespace {

constexpr int kBlockChannels = 128;               // most channels of a block, on either side
constexpr std::ptrdiff_t kRowFloats = 128 << 10;  // V and D of a chunk: 512 KB, beside 512 KB of S
constexpr std::ptrdiff_t kPieces = 8;            // of work, at most, but where there are many tiles
constexpr std::ptrdiff_t kTilesOfPieces = 4096;  // of which there may be as many again
constexpr std::ptrdiff_t kMostPieces = 32;
constexpr std::ptrdiff_t kFewPieces = 4;  // up to so many, splits may be smaller than a chunk,
constexpr std::ptrdiff_t kFewTiles = 20;  // down to so many tiles: each transforms all its sums
constexpr std::ptrdiff_t kSumFloats = 7 << 20;  // T of all splits together: 29 MB

// The tiles that cover an image of h x w pixels, numbered image by image, row by row.
struct TileGrid {
  int tile, n, rows, columns;

  TileGrid(int tile_size, int images, int h, int w)
      : tile(tile_size),
        n(images),
        rows(static_cast<int>(ceil_div(h, tile_size))),
        columns(static_cast<int>(ceil_div(w, tile_size))) {}
  int count() const { return n * rows * columns; }
  std::ptrdiff_t products() const {
    return static_cast<std::ptrdiff_t>(count()) * (tile + 2) * (tile + 2);
  }
  int image(int t) const { return t / (rows * columns); }
  int y(int t) const { return t / columns % rows * tile; }
  int x(int t) const { return t % columns * tile; }
};

template <class F>
struct WeightsPlan {
  int IC, OC;
  TileGrid grid;
  int inputs, outputs;  // channels of a block
  int input_blocks, output_blocks;
  int splits = 1;                         // of the tiles
  int chunk;                              // tiles in H, V and D
  std::ptrdiff_t h_inputs, h_outputs;     // floats of H: of a pixel
  std::ptrdiff_t h_bottom, h_top_diff;    //   and of a row
  std::ptrdiff_t v_tile, d_tile;          // floats of a tile in V, D
  std::ptrdiff_t v_position, d_position;  //   and of a position
  std::ptrdiff_t s_row, s_position;       // floats of a row and of a position in S and T
  std::ptrdiff_t t_size;                  // floats of T of a block

  explicit WeightsPlan(const Conv3x3Shape& shape)
      : IC(shape.ic), OC(shape.oc), grid(F::kTile, shape.n, shape.ih - 2, shape.iw - 2) {
    inputs = even(IC);
    outputs = even(OC);
    input_blocks = static_cast<int>(ceil_div(IC, inputs));
    output_blocks = static_cast<int>(ceil_div(OC, outputs));
    h_inputs = round_up(inputs, kLine);
    h_outputs = round_up(outputs, kLine);
    v_tile = row_length(inputs);
    d_tile = row_length(outputs);
    s_row = round_up(outputs, kLanes);
    s_position = position_length(inputs * s_row);
    t_size = t_bias() + s_row;
    cut_tiles();
    const int runs = 2 + chunk / grid.columns;
    h_bottom = position_length((chunk * F::kTile + 2 * runs) * h_inputs);
    h_top_diff = position_length(chunk * F::kTile * h_outputs);
    v_position = position_length(chunk * v_tile);
    d_position = position_length(chunk * d_tile);
  }

  int blocks() const { return input_blocks * output_blocks; }
  int first_input(int block) const { return block / output_blocks * inputs; }
  int first_output(int block) const { return block % output_blocks * outputs; }
  int first_tile(int split) const {
    return static_cast<int>(static_cast<std::ptrdiff_t>(grid.count()) * split / splits);
  }

  // Where T keeps the sums of the top_diff: a last row.
  std::ptrdiff_t t_bias() const { return 3 * F::kWindow * s_position; }
  // Which T a piece of work adds to.
  int t_index(int split, int block, int thread) const {
    return splits > 1 ? split * blocks() + block : thread;
  }

  // Floats of H, V, D and S of one thread.
  std::ptrdiff_t thread_floats() const {
    return F::kWindow * (h_bottom + h_top_diff + v_position + d_position + s_position);
  }
  // T: of all splits and blocks, or, where nothing is to be added, of a block for each thread.
  std::ptrdiff_t workspace(int threads) const {
    return threads * thread_floats() + (splits > 1 ? splits * blocks() : threads) * t_size;
  }

 private:
  // A power of two of splits, so that two or four threads have as many, in chunks that are nearly
  // equal.
  void cut_tiles() {
    const std::ptrdiff_t tiles = grid.count();
    const auto most = kRowFloats / (F::kWindow * (v_tile + d_tile));  // tiles of a chunk
    const auto pieces = min(kMostPieces, max<std::ptrdiff_t>(1, tiles / kTilesOfPieces) * kPieces);
    const auto fit = min(pieces, kSumFloats / t_size) / blocks();
    const auto least = [&] { return splits * blocks() < kFewPieces ? kFewTiles : most; };
    while (2 * splits <= fit && 2 * splits * least() <= tiles) splits *= 2;
    const auto of_split = ceil_div(tiles, splits);
    chunk = static_cast<int>(ceil_div(of_split, ceil_div(of_split, most)));
  }
  // Channels of a block, of blocks that are nearly equal, in whole cache lines.
  static int even(int channels) {
    const auto block = round_up(ceil_div(channels, ceil_div(channels, kBlockChannels)), kLine);
    return static_cast<int>(min<std::ptrdiff_t>(channels, block));
  }
};

}  // namespace
}  // namespace unet::cpu::UNET_ISA::winograd
