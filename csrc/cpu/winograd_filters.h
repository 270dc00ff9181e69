// The filters of a 3x3 correlation, seen forward or flipped, and their transforms U.
#pragma once

#include "core/view.h"
#include "cpu/gemm.h"
#include "cpu/winograd.h"

namespace unet::cpu::UNET_ISA {
namespace {

// Where the filters of one panel and some source channels lie: 9 taps of `rows` rows of `lines`
// cache lines.
struct FilterBlock {
  const float* first;
  std::ptrdiff_t tap_stride, row_stride;
  int rows, lines;

  // One of `parts` parts of its rows.
  FilterBlock part(int index, int parts) const {
    const int begin = rows * index / parts, end = rows * (index + 1) / parts;
    return {first + begin * row_stride, tap_stride, row_stride, end - begin, lines};
  }
};

// Has one of `parts` parts of the block fetched, into all caches: hints for the L2 cache alone do
// nothing on Zen 4.
[[gnu::always_inline]] inline void prefetch(const FilterBlock& block, int part, int parts) {
  const int all = 9 * block.rows;
  for (int i = all * part / parts; i < all * (part + 1) / parts; ++i) {
    const float* p =
        block.first + i / block.rows * block.tap_stride + i % block.rows * block.row_stride;
    for (int line = 0; line < block.lines; ++line) __builtin_prefetch(p + line * kLine);
  }
}

// Filters as seen by one pass. `read` brings tap(h, w) of the columns [n, n + count) of the rows
// [k, k + rows), rows <= kLanes, into block [rows][kPanel], zero-padded. Where the memory has that
// order anyhow (`in_order`), `row` is where the columns from n on of row k are.
struct ForwardFilter {
  static constexpr bool in_order = true;
  ConstFilter weight;
  int channels() const { return weight.ic; }
  int columns() const { return weight.oc; }

  const float* row(int tap, int k, int n) const {
    return weight.tap(tap / 3, tap % 3) + static_cast<std::ptrdiff_t>(k) * weight.oc + n;
  }
  void read(int h, int w, int k, int rows, int n, int count, float* block) const {
    const float* from = weight.tap(h, w) + static_cast<std::ptrdiff_t>(k) * weight.oc + n;
    pack_panel(from, weight.oc, rows, count, block);
  }
  FilterBlock block(int k, int channels, int n, int panels) const {
    return {row(0, k, n), static_cast<std::ptrdiff_t>(weight.ic) * weight.oc, weight.oc, channels,
            static_cast<int>(ceil_div(min(panels * kPanel, weight.oc - n), kLine))};
  }
};

struct FlippedFilter {
  static constexpr bool in_order = false;
  ConstFilter weight;
  int channels() const { return weight.oc; }
  int columns() const { return weight.ic; }

  void read(int h, int w, int k, int rows, int n, int count, float* block) const {
    const float* from = weight.tap(2 - h, 2 - w) + static_cast<std::ptrdiff_t>(n) * weight.oc + k;
    if (rows == kLanes && count == kPanel) {
      for (int v = 0; v < kPanel; v += kLanes, from += kLanes * weight.oc) {
        vfloat square[kLanes];
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) square[i] = load(from + i * weight.oc);
        transpose(square);
#pragma GCC unroll 16
        for (int r = 0; r < kLanes; ++r) store(block + r * kPanel + v, square[r]);
      }
      return;
    }
    for (int i = 0; i < count; ++i, from += weight.oc) {
      for (int r = 0; r < rows; ++r) block[r * kPanel + i] = from[r];
    }
    for (int i = count; i < kPanel; ++i) {
      for (int r = 0; r < rows; ++r) block[r * kPanel + i] = 0.0f;
    }
  }
  FilterBlock block(int k, int channels, int n, int panels) const {
    return {weight.data + static_cast<std::ptrdiff_t>(n) * weight.oc + k,
            static_cast<std::ptrdiff_t>(weight.ic) * weight.oc, weight.oc,
            min(panels * kPanel, weight.ic - n), static_cast<int>(ceil_div(channels, kLine))};
  }
};

// Rows of filters that are fetched ahead of their transform. Rows lie a whole number of pages apart
// where there are many columns, and the taps of a row further still, which no processor foresees;
// many of them in the cache at once would fall into the same sets.
constexpr int kRowsAhead = 4;

// U [F::kPositions][end - begin][kPanel], positions `stride` apart: the columns [n, n + kPanel) of
// the rows [begin, end) of the filters.
template <class F, class FilterView>
void transform_filters(const FilterView& filter, int n, int begin, int end, std::ptrdiff_t stride,
                       float* U) {
  const int count = min(kPanel, filter.columns() - n);
  const auto transform = [&](int k, const auto& tap_of) {
    for (int v = 0; v < kPanel; v += kLanes) {
      float* to = U + static_cast<std::ptrdiff_t>(k - begin) * kPanel + v;
      transform_2d<3, F::kWindow>(
          [&](int i, int j) { return load(tap_of(i * 3 + j) + v); },
          [&](int i, int j, vfloat value) { store(to + (i * F::kWindow + j) * stride, value); },
          [](const vfloat* g, vfloat* out) { F::filter(g, out); });
    }
  };
  if constexpr (FilterView::in_order) {
    if (count == kPanel) {
      for (int k = begin; k < end; ++k) {
        if (k + kRowsAhead < end) prefetch(filter.block(k + kRowsAhead, 1, n, 1), 0, 1);
        transform(k, [&](int tap) { return filter.row(tap, k, n); });
      }
      return;
    }
  }
  float taps[9][kLanes * kPanel];
  for (int k0 = begin; k0 < end; k0 += kLanes) {
    const int rows = min(kLanes, end - k0);
    const int next = k0 + kLanes;
    const FilterBlock ahead =
        next < end ? filter.block(next, min(kLanes, end - next), n, 1) : FilterBlock{};
    for (int tap = 0; tap < 9; ++tap) {
      filter.read(tap / 3, tap % 3, k0, rows, n, count, taps[tap]);
    }
    for (int k = 0; k < rows; ++k) {
      prefetch(ahead, k, rows);
      transform(k0 + k, [&](int tap) { return taps[tap] + k * kPanel; });
    }
  }
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA
