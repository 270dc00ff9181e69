// How forward and backward_data cover an image with tiles, and the windows under these.
//
// Tiles of F::kTile pixels as far as they go; what is left at the right and at the bottom is
// covered by smaller ones, of 2 or 4 pixels. These have some of the points of the large ones, so
// that they take part in some of the positions only, with the same transformed filters
// (cpu/winograd_tiles.h): 14 pixels are 6 + 6 + 2, which takes 20 * 20 products where three tiles
// of 6 would take 24 * 24.
//
//          6   6   6   2              points
//        +---+---+---+-+          6   0 1 -1 2 -2 1/2 -1/2 inf
//      6 | B | B | B |C|          4   0 1 -1 2 -2          inf
//        +---+---+---+-+          2   0 1 -1               inf
//      6 | B | B | B |C|
//        +---+---+---+-+          Tiles are numbered A, B, C, D, in each of these image by image,
//      4 | A | A | A |D|          row by row: then the tiles of any position follow one another.
//        +---+---+---+-+
#pragma once

#include "core/view.h"
#include "cpu/simd.h"
#include "cpu/winograd_tiles.h"

namespace unet::cpu::UNET_ISA::winograd {
namespace {

// Pixels [y, y + height) x [x, x + width) of an image, of which some may lie beyond its border.
struct Tile {
  int image, y, x, height, width;
};

// Tiles [begin, end).
struct Tiles {
  int begin, end;
};

// One axis: `full` tiles of F::kTile pixels and, unless it is 0, one of `last` pixels.
template <class F>
struct Axis {
  int full, last;

  explicit Axis(int length) {
    const int rest = length % F::kTile;
    full = length / F::kTile + (rest > F::kTile - 2 ? 1 : 0);
    last = rest > F::kTile - 2 ? 0 : rest > 2 ? 4 : rest > 0 ? 2 : 0;
  }
  int count() const { return full + (last > 0 ? 1 : 0); }
  // Input pixels of all windows: products along the axis.
  int windows() const { return full * F::kWindow + (last > 0 ? last + 2 : 0); }
  // Whether the last tile, if it is smaller, has that point too.
  bool last_has(int point) const { return point <= last || point == F::kWindow - 1; }
};

template <class F>
class Cover {
 public:
  Cover(int images, int h, int w) : n_(images), rows_(h), columns_(w) {
    a_ = rows_.last > 0 ? n_ * columns_.full : 0;
    b_ = a_ + n_ * rows_.full * columns_.full;
    c_ = b_ + (columns_.last > 0 ? n_ * rows_.full : 0);
  }

  int count() const { return n_ * rows_.count() * columns_.count(); }

  std::ptrdiff_t products() const {
    return static_cast<std::ptrdiff_t>(n_) * rows_.windows() * columns_.windows();
  }

  Tile tile(int t) const {
    const int bottom = rows_.full * F::kTile, right = columns_.full * F::kTile;
    if (t < a_) {
      const int x = t % columns_.full * F::kTile;
      return {t / columns_.full, bottom, x, rows_.last, F::kTile};
    }
    if (t < b_) {
      const int row = (t - a_) / columns_.full, x = (t - a_) % columns_.full * F::kTile;
      return {row / rows_.full, row % rows_.full * F::kTile, x, F::kTile, F::kTile};
    }
    if (t < c_) {
      const int row = t - b_;
      return {row / rows_.full, row % rows_.full * F::kTile, right, F::kTile, columns_.last};
    }
    return {t - c_, bottom, right, rows_.last, columns_.last};
  }

  // Those that have the position of the points i and j.
  Tiles of_position(int i, int j) const {
    const bool bottom = rows_.last_has(i), right = columns_.last_has(j);
    return {bottom ? 0 : a_, !right ? b_ : !bottom ? c_ : count()};
  }

 private:
  int n_;
  Axis<F> rows_, columns_;
  int a_, b_, c_;  // where A, B and C end
};

// Calls f with the tile size F2, F4 or F6 of so many pixels, at most F's.
template <class F, class Call>
[[gnu::always_inline]] inline void with_size(int pixels, const Call& call) {
  if (pixels == F::kTile) return call(F{});
  if constexpr (F::kTile > 4) {
    if (pixels == 4) return call(F4{});
  }
  call(F2{});
}

// Which of F's points is point q of the size S.
template <class F, class S>
constexpr int point(int q) {
  return q <= S::kTile ? q : F::kWindow - 1;
}

// X -> Y X Zt for transforms of columns, from InY to OutY elements, and of rows, from InX to OutX.
// `read(i, j)` gives element (i, j) of X, `write(i, j, value)` takes one of the result.
template <int InY, int InX, int OutY, int OutX, class Read, class Write, class Y, class Z>
[[gnu::always_inline]] inline void transform_2d(const Read& read, const Write& write,
                                                const Y& columns, const Z& rows) {
  vfloat half[OutY][InX];
#pragma GCC unroll 8
  for (int j = 0; j < InX; ++j) {
    vfloat column[InY], out[OutY];
#pragma GCC unroll 8
    for (int i = 0; i < InY; ++i) column[i] = read(i, j);
    columns(column, out);
#pragma GCC unroll 8
    for (int i = 0; i < OutY; ++i) half[i][j] = out[i];
  }
#pragma GCC unroll 8
  for (int i = 0; i < OutY; ++i) {
    vfloat out[OutX];
    rows(half[i], out);
#pragma GCC unroll 8
    for (int j = 0; j < OutX; ++j) write(i, j, out[j]);
  }
}

// Transforms the Y x X window of `view` at (y, x) of image n, zero where it leaves the image, for
// all channels: to[position * position_stride + c], c < round_up(view.c, kLanes).
template <class F, class Y, class X>
void transform_window(ConstView view, int n, int y, int x, float* to,
                      std::ptrdiff_t position_stride) {
  const bool inside = y >= 0 && x >= 0 && y + Y::kWindow <= view.h && x + X::kWindow <= view.w;
  float bordered[Y::kWindow][X::kWindow][kLanes];
  for (int c = 0; c < view.c; c += kLanes) {
    const int count = min(kLanes, view.c - c);
    const float* from = inside ? view.pixel(n, y, x) + c : nullptr;
    std::ptrdiff_t row_stride = view.row_stride, pixel_stride = view.pixel_stride;
    if (!inside || count < kLanes) {
      for (int i = 0; i < Y::kWindow; ++i) {
        for (int j = 0; j < X::kWindow; ++j) {
          store(bordered[i][j], vfloat{});
          if (y + i < 0 || y + i >= view.h || x + j < 0 || x + j >= view.w) continue;
          const float* pixel = view.pixel(n, y + i, x + j) + c;
          store(bordered[i][j], count == kLanes ? load(pixel) : load_part(pixel, count));
        }
      }
      from = bordered[0][0];
      row_stride = X::kWindow * kLanes;
      pixel_stride = kLanes;
    }
    transform_2d<Y::kWindow, X::kWindow, Y::kWindow, X::kWindow>(
        [&](int i, int j) { return load(from + i * row_stride + j * pixel_stride); },
        [&](int i, int j, vfloat value) {
          const int position = point<F, Y>(i) * F::kWindow + point<F, X>(j);
          store(to + position * position_stride + c, value);
        },
        [](const vfloat* d, vfloat* out) { Y::bottom(d, out); },
        [](const vfloat* d, vfloat* out) { X::bottom(d, out); });
  }
}

// The window under a tile, `padding` pixels before it, of all parts. What a part is filled up with,
// the next one overwrites.
template <class F>
void transform_window(const ConcatView& views, const Tile& tile, int padding, float* to,
                      std::ptrdiff_t position_stride) {
  with_size<F>(tile.height, [&](auto y) {
    with_size<F>(tile.width, [&](auto x) {
      float* part = to;
      for (int p = 0; p < views.parts; ++p) {
        transform_window<F, decltype(y), decltype(x)>(views.part[p], tile.image, tile.y - padding,
                                                      tile.x - padding, part, position_stride);
        part += views.part[p].c;
      }
    });
  });
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA::winograd
