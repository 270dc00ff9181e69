// Winograd's minimal filtering F(m x m, 3x3): an m x m tile of a 3x3 correlation from (m + 2)^2
// products per pair of channels instead of 9 m^2.
//
//   top tile      Y = At [ (G g Gt) . (Bt d B) ] A     d window of the bottom, g 3x3, Y m x m
//   filter diff  dg = Gt [ sum over tiles (Bt d B) . (A y At) ] G       y m x m of the top diff
//
// Two tile sizes, m = 4 and 6 (cpu/winograd_tiles.h), which the kernels take as their parameter F.
// Every function here works on one vector of channels at a time; "position" is one of the 36 or 64
// places in a transformed tile.
//
// Source  A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks (2015), section 4
#pragma once

#include "core/view.h"
#include "cpu/simd.h"
#include "cpu/winograd_tiles.h"
#include "ops/conv3x3.h"

namespace unet::cpu::UNET_ISA {
namespace {

// X -> T X Tt for a transform T from `In` to `Out` elements: columns first, then rows.
// `read(i, j)` gives element (i, j) of X, `write(i, j, value)` takes one of the result.
template <int In, int Out, class Read, class Write, class Transform>
[[gnu::always_inline]] inline void transform_2d(const Read& read, const Write& write,
                                                const Transform& transform) {
  vfloat half[Out][In];
#pragma GCC unroll 8
  for (int j = 0; j < In; ++j) {
    vfloat column[In], out[Out];
#pragma GCC unroll 8
    for (int i = 0; i < In; ++i) column[i] = read(i, j);
    transform(column, out);
#pragma GCC unroll 8
    for (int i = 0; i < Out; ++i) half[i][j] = out[i];
  }
#pragma GCC unroll 8
  for (int i = 0; i < Out; ++i) {
    vfloat out[Out];
    transform(half[i], out);
#pragma GCC unroll 8
    for (int j = 0; j < Out; ++j) write(i, j, out[j]);
  }
}

// The tiles that cover an image of h x w pixels, numbered image by image, row by row.
struct TileGrid {
  int tile, n, rows, columns;

  TileGrid(int tile_size, int images, int h, int w)
      : tile(tile_size),
        n(images),
        rows(static_cast<int>(ceil_div(h, tile_size))),
        columns(static_cast<int>(ceil_div(w, tile_size))) {}
  int count() const { return n * rows * columns; }
  int image(int t) const { return t / (rows * columns); }
  int y(int t) const { return t / columns % rows * tile; }
  int x(int t) const { return t % columns * tile; }
};

// Whether n images of h x w are cut into the tiles of F6. Their products are fewer by a fifth than
// those of F4 where no tile sticks out; what has to be done for each position whatever the number
// of tiles, with filters or their sums, as much as the products of `extra` tiles, is more.
[[maybe_unused]] inline bool takes_large_tiles(Algorithm algorithm, int n, int h, int w,
                                               int extra) {
  if (algorithm == Algorithm::kWinograd4x4) return false;
  if (algorithm == Algorithm::kWinograd6x6) return true;
  const auto cost = [&](int positions, int tile) {
    return static_cast<std::ptrdiff_t>(positions) * (TileGrid(tile, n, h, w).count() + extra);
  };
  return cost(F6::kPositions, F6::kTile) < cost(F4::kPositions, F4::kTile);
}

// Reads a cache line's worth of everything that the In x In windows of the tiles [first, first +
// count) cover, row by row in the order of the memory, and does nothing with it. The transforms
// read a window channel by channel, 36 or 64 pixels far apart each time, which the processor's
// prefetching cannot follow: from main memory that took four times as long as from a cache. After
// this the window lies in L2 (and unlike a prefetch instruction, the compiler keeps a volatile
// read).
template <int In>
inline void touch_windows(ConstView view, const TileGrid& grid, int offset, int first, int count) {
  for (int t = first; t < first + count;) {
    const int run = min(grid.columns - t % grid.columns, first + count - t);
    const int y0 = max(0, grid.y(t) + offset), y1 = min(view.h, grid.y(t) + offset + In);
    const int x0 = max(0, grid.x(t) + offset);
    const int x1 = min(view.w, grid.x(t) + offset + (run - 1) * grid.tile + In);
    for (int y = y0; y < y1; ++y) {
      for (int x = x0; x < x1; ++x) {
        const volatile float* p = view.pixel(grid.image(t), y, x);
        for (int c = 0; c < view.c; c += kLine) static_cast<void>(p[c]);
      }
    }
    t += run;
  }
}

template <int In>
inline void touch_windows(const ConcatView& views, const TileGrid& grid, int offset, int first,
                          int count) {
  for (int p = 0; p < views.parts; ++p) {
    touch_windows<In>(views.part[p], grid, offset, first, count);
  }
}

// Transforms the window of `view` at (y, x) of image n, zero where it leaves the image, for all
// channels: to[position * position_stride + c], c < round_up(view.c, kLanes).
template <class F>
[[gnu::always_inline]] inline void transform_window(ConstView view, int n, int y, int x, float* to,
                                                    std::ptrdiff_t position_stride) {
  const bool inside = y >= 0 && x >= 0 && y + F::kWindow <= view.h && x + F::kWindow <= view.w;
  const auto bottom = [](const vfloat* d, vfloat* out) { F::bottom(d, out); };
  for (int c = 0; c < view.c; c += kLanes) {
    const int count = min(kLanes, view.c - c);
    const auto write = [&](int i, int j, vfloat value) {
      store(to + (i * F::kWindow + j) * position_stride + c, value);
    };
    if (inside && count == kLanes) {
      const float* origin = view.pixel(n, y, x) + c;
      transform_2d<F::kWindow, F::kWindow>(
          [&](int i, int j) { return load(origin + i * view.row_stride + j * view.pixel_stride); },
          write, bottom);
    } else {
      transform_2d<F::kWindow, F::kWindow>(
          [&](int i, int j) {
            if (y + i < 0 || y + i >= view.h || x + j < 0 || x + j >= view.w) return vfloat{};
            const float* from = view.pixel(n, y + i, x + j) + c;
            return count == kLanes ? load(from) : load_part(from, count);
          },
          write, bottom);
    }
  }
}

// The same for the channels of all parts. What a part is filled up with, the next one overwrites.
template <class F>
[[gnu::always_inline]] inline void transform_window(const ConcatView& views, int n, int y, int x,
                                                    float* to, std::ptrdiff_t position_stride) {
  for (int p = 0; p < views.parts; ++p) {
    transform_window<F>(views.part[p], n, y, x, to, position_stride);
    to += views.part[p].c;
  }
}

// Channels of a transformed row, padded so that rows of one position do not all fall into the same
// set of the L1 cache when the channel count is a power of two.
constexpr std::ptrdiff_t row_length(int channels) { return round_up(channels, 16) + 16; }

// Floats from one position to the next: an odd number of cache lines, so that the positions of a
// tile, which are written together, fall into different sets of the L1 cache.
constexpr std::ptrdiff_t position_length(std::ptrdiff_t floats) {
  return (ceil_div(floats, kLine) | 1) * kLine;
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA
