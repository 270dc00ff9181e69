// Winograd's minimal filtering F(4x4,3x3): a 4x4 tile of a 3x3 correlation from 36 products per
// pair of channels instead of 144.
//
//   top tile      Y = At [ (G g Gt) . (Bt d B) ] A     d 6x6 of the bottom, g 3x3, Y 4x4
//   filter diff  dg = Gt [ sum over tiles (Bt d B) . (A y At) ] G          y 4x4 of the top diff
//
// with the interpolation points 0, 1, -1, 2, -2, infinity. Every function here works on one vector
// of channels at a time; "position" is one of the 36 places in a transformed tile.
//
// Source  A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks (2015), section 4.3
#pragma once

#include "core/view.h"
#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

constexpr int kTile = 4;        // output pixels of a tile along one axis
constexpr int kWindow = 6;      // input pixels
constexpr int kPositions = 36;  // kWindow * kWindow

// Bt: window of the bottom, 6 -> 6.
[[gnu::always_inline]] inline void bottom_transform(const vfloat d[6], vfloat out[6]) {
  const vfloat a = d[4] - 4.0f * d[2], b = d[3] - 4.0f * d[1];
  const vfloat c = d[4] - d[2], e = 2.0f * (d[3] - d[1]);
  out[0] = 4.0f * d[0] + (d[4] - 5.0f * d[2]);
  out[1] = a + b;
  out[2] = a - b;
  out[3] = c + e;
  out[4] = c - e;
  out[5] = 4.0f * d[1] + (d[5] - 5.0f * d[3]);
}

// At: products to a row of the top, 6 -> 4.
[[gnu::always_inline]] inline void top_transform(const vfloat m[6], vfloat out[4]) {
  const vfloat a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  out[0] = m[0] + (a + c);
  out[1] = 2.0f * d + b;
  out[2] = 4.0f * c + a;
  out[3] = m[5] + (8.0f * d + b);
}

// A: row of the top diff, 4 -> 6.
[[gnu::always_inline]] inline void top_diff_transform(const vfloat y[4], vfloat out[6]) {
  const vfloat a = y[0] + y[2], b = y[1] + y[3];
  const vfloat c = y[0] + 4.0f * y[2], d = 2.0f * y[1] + 8.0f * y[3];
  out[0] = y[0];
  out[1] = a + b;
  out[2] = a - b;
  out[3] = c + d;
  out[4] = c - d;
  out[5] = y[3];
}

// G: filter, 3 -> 6.
[[gnu::always_inline]] inline void filter_transform(const vfloat g[3], vfloat out[6]) {
  const vfloat a = (g[0] + g[2]) * (-1.0f / 6), b = g[1] * (-1.0f / 6);
  const vfloat c = g[0] * (1.0f / 24) + g[2] * (1.0f / 6), d = g[1] * (1.0f / 12);
  out[0] = g[0] * 0.25f;
  out[1] = a + b;
  out[2] = a - b;
  out[3] = c + d;
  out[4] = c - d;
  out[5] = g[2];
}

// Gt: sum of products to a row of the filter diff, 6 -> 3.
[[gnu::always_inline]] inline void filter_diff_transform(const vfloat s[6], vfloat out[3]) {
  const vfloat a = s[1] + s[2], b = s[1] - s[2], c = s[3] + s[4], d = s[3] - s[4];
  out[0] = s[0] * 0.25f + (c * (1.0f / 24) - a * (1.0f / 6));
  out[1] = d * (1.0f / 12) - b * (1.0f / 6);
  out[2] = s[5] + (c - a) * (1.0f / 6);
}

// X -> T X Tt for a transform T from `In` to `Out` elements: columns first, then rows.
// `read(i, j)` gives element (i, j) of X, `write(i, j, value)` takes one of the result.
template <int In, int Out, class Read, class Write, class Transform>
[[gnu::always_inline]] inline void transform_2d(const Read& read, const Write& write,
                                                const Transform& transform) {
  vfloat half[Out][In];
#pragma GCC unroll 6
  for (int j = 0; j < In; ++j) {
    vfloat column[In], out[Out];
#pragma GCC unroll 6
    for (int i = 0; i < In; ++i) column[i] = read(i, j);
    transform(column, out);
#pragma GCC unroll 6
    for (int i = 0; i < Out; ++i) half[i][j] = out[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < Out; ++i) {
    vfloat out[Out];
    transform(half[i], out);
#pragma GCC unroll 6
    for (int j = 0; j < Out; ++j) write(i, j, out[j]);
  }
}

// The tiles that cover an image of h x w pixels, numbered image by image, row by row.
struct TileGrid {
  int n, rows, columns;

  TileGrid(int images, int h, int w)
      : n(images),
        rows(static_cast<int>(ceil_div(h, kTile))),
        columns(static_cast<int>(ceil_div(w, kTile))) {}
  int count() const { return n * rows * columns; }
  int image(int tile) const { return tile / (rows * columns); }
  int y(int tile) const { return tile / columns % rows * kTile; }
  int x(int tile) const { return tile % columns * kTile; }
};

// Reads a cache line's worth of everything that the In x In windows of the tiles [first, first +
// count) cover, row by row in the order of the memory, and does nothing with it. The transforms
// read a window channel by channel, 36 pixels far apart each time, which the processor's
// prefetching cannot follow: from main memory that took four times as long as from a cache. After
// this the window lies in L2 (and unlike a prefetch instruction, the compiler keeps a volatile
// read).
template <int In>
inline void touch_windows(ConstView view, const TileGrid& grid, int offset, int first, int count) {
  for (int t = first; t < first + count;) {
    const int run = min(grid.columns - t % grid.columns, first + count - t);
    const int y0 = max(0, grid.y(t) + offset), y1 = min(view.h, grid.y(t) + offset + In);
    const int x0 = max(0, grid.x(t) + offset);
    const int x1 = min(view.w, grid.x(t) + offset + (run - 1) * kTile + In);
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

// Transforms the In x In window of `view` at (y, x) of image n, zero where it leaves the image, for
// all channels: to[position * position_stride + c], c < round_up(view.c, kLanes).
template <int In, class Transform>
[[gnu::always_inline]] inline void transform_window(ConstView view, int n, int y, int x, float* to,
                                                    std::ptrdiff_t position_stride,
                                                    const Transform& transform) {
  const bool inside = y >= 0 && x >= 0 && y + In <= view.h && x + In <= view.w;
  for (int c = 0; c < view.c; c += kLanes) {
    const int count = min(kLanes, view.c - c);
    const auto write = [&](int i, int j, vfloat value) {
      store(to + (i * kWindow + j) * position_stride + c, value);
    };
    if (inside && count == kLanes) {
      const float* origin = view.pixel(n, y, x) + c;
      transform_2d<In, kWindow>(
          [&](int i, int j) { return load(origin + i * view.row_stride + j * view.pixel_stride); },
          write, transform);
    } else {
      transform_2d<In, kWindow>(
          [&](int i, int j) {
            if (y + i < 0 || y + i >= view.h || x + j < 0 || x + j >= view.w) return vfloat{};
            const float* from = view.pixel(n, y + i, x + j) + c;
            return count == kLanes ? load(from) : load_part(from, count);
          },
          write, transform);
    }
  }
}

// The same for the channels of all parts. What a part is filled up with, the next one overwrites.
template <int In, class Transform>
[[gnu::always_inline]] inline void transform_window(const ConcatView& views, int n, int y, int x,
                                                    float* to, std::ptrdiff_t position_stride,
                                                    const Transform& transform) {
  for (int p = 0; p < views.parts; ++p) {
    transform_window<In>(views.part[p], n, y, x, to, position_stride, transform);
    to += views.part[p].c;
  }
}

// Channels of a transformed row, padded so that rows of one position do not all fall into the same
// set of the L1 cache when the channel count is a power of two.
constexpr std::ptrdiff_t row_length(int channels) { return round_up(channels, 16) + 16; }

}  // namespace
}  // namespace unet::cpu::UNET_ISA
