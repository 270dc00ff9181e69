// The filters of a 3x3 correlation, seen forward or flipped, and their transforms U.
//
//   filters in memory --gather--> taps [9][K][kPanel] --transform--> U [P][K][kPanel]
//
// The rows of a panel lie a page apart in memory where there are many columns, the taps of a row
// further still, which no processor foresees: gathered, they are read in the order of the memory as
// far as it goes, and only once, while the transform reads them for each pair of rows of positions.
// The transform works by such pairs because one pair of 256 channels fits into the L2 cache, and
// because a point's row and its negative's share half of the work. A FilterStream gathers the next
// filters while the processor multiplies.
#pragma once

#include "core/view.h"
#include "cpu/gemm.h"
#include "cpu/winograd.h"

namespace unet::cpu::UNET_ISA {
namespace {

// Floats from one tap of `channels` gathered rows to the next: not a power of two, lest all nine
// fall into one set of the L1 cache.
constexpr std::ptrdiff_t tap_length(int channels) {
  return static_cast<std::ptrdiff_t>(channels) * kPanel + kLine;
}
constexpr std::ptrdiff_t panel_taps(int channels) { return 9 * tap_length(channels); }
// The same of a vector of filters whose columns are transformed.
constexpr std::ptrdiff_t half_length(int channels) {
  return static_cast<std::ptrdiff_t>(channels) * kLanes + kLine;
}

// What is gathered at a time: the rows [k, k + channels) of `panels` panels, from column n on.
struct FilterPart {
  int k, channels, n, panels;
};

// Rows of whole panels, where they lie in memory and where in taps they go: floats from one tap,
// row or panel to the next.
struct FilterRows {
  const float* from;
  float* to;
  std::ptrdiff_t from_tap, from_row;
  std::ptrdiff_t to_tap, to_row, to_panel;
  int rows, panels;  // rows of a tap, panels of a row
};

// Filters as seen by one pass. `gather` brings a part of them to taps
// [panels][9][channels][kPanel], zero-padded. `in_order`: whether neighbouring panels are
// neighbours in memory, so that it pays to gather several at a time, and to copy their `rows` by a
// FilterStream.
struct ForwardFilter {
  static constexpr bool in_order = true;
  ConstFilter weight;
  int channels() const { return weight.ic; }
  int columns() const { return weight.oc; }

  void gather(const FilterPart& part, float* taps) const {
    const std::ptrdiff_t stride = tap_length(part.channels);
    for (int tap = 0; tap < 9; ++tap, taps += stride) {
      const float* from = row(tap, part);
      for (int r = 0; r < part.channels; ++r, from += weight.oc) {
        float* to = taps + static_cast<std::ptrdiff_t>(r) * kPanel;
        for (int p = 0; p < part.panels; ++p, to += panel_taps(part.channels)) {
          const int column = p * kPanel;
          if (part.n + column + kPanel > weight.oc) {
            pack_panel(from + column, 0, 1, weight.oc - part.n - column, to);
            continue;
          }
          for (int v = 0; v < kPanel; v += kLanes) store(to + v, load(from + column + v));
        }
      }
    }
  }

  // What a FilterStream gathers: nothing where a panel is not whole.
  FilterRows rows(const FilterPart& part, float* taps) const {
    if (part.n + part.panels * kPanel > weight.oc) return {};
    return {row(0, part),
            taps,
            row(1, part) - row(0, part),
            weight.oc,
            tap_length(part.channels),
            kPanel,
            panel_taps(part.channels),
            part.channels,
            part.panels};
  }

 private:
  const float* row(int tap, const FilterPart& part) const {
    return weight.tap(tap / 3, tap % 3) + static_cast<std::ptrdiff_t>(part.k) * weight.oc + part.n;
  }
};

struct FlippedFilter {
  static constexpr bool in_order = false;
  ConstFilter weight;
  int channels() const { return weight.oc; }
  int columns() const { return weight.ic; }

  void gather(const FilterPart& part, float* taps) const {
    const std::ptrdiff_t stride = tap_length(part.channels);
    for (int p = 0; p < part.panels; ++p) {
      for (int tap = 0; tap < 9; ++tap, taps += stride) {
        const float* from = weight.tap(2 - tap / 3, 2 - tap % 3) + part.k;
        // Along the rows of the memory: kLanes of them side by side are streams that a processor
        // follows.
        for (int v = 0; v < kPanel; v += kLanes) {
          const int column = part.n + p * kPanel + v;
          gather_columns(from + static_cast<std::ptrdiff_t>(column) * weight.oc, part.channels,
                         max(0, min(kLanes, weight.ic - column)), taps + v);
        }
      }
    }
  }

  // A FilterStream would have to copy them to be transposed later, which costs more than waiting.
  FilterRows rows(const FilterPart&, float*) const { return {}; }

 private:
  // from [columns][channels], rows weight.oc apart, to `to` [channels][kLanes], rows kPanel apart.
  void gather_columns(const float* from, int channels, int columns, float* to) const {
    int r = 0;
    if (columns == kLanes) {
      for (; r + kLanes <= channels; r += kLanes) {
        vfloat square[kLanes];
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) square[i] = load(from + i * weight.oc + r);
        transpose(square);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) store(to + (r + i) * kPanel, square[i]);
      }
    }
    for (; r < channels; ++r) {
      for (int i = 0; i < columns; ++i) to[r * kPanel + i] = from[i * weight.oc + r];
      for (int i = columns; i < kLanes; ++i) to[r * kPanel + i] = 0.0f;
    }
  }
};

// Gathers rows of filters while something else is computed, spread evenly over `steps` steps: a row
// is brought into the L2 cache, then into L1, then copied. Between the vectors of a product this
// costs next to nothing; all at once it waits for the memory. Both caches, because from L1 alone
// rows that were fetched early enough are pushed out again, a page apart as they are and so in the
// same few sets (layers of few tiles: 0.82 of the time from L2, 0.95 from L1), while fetches into
// L2 are at times ignored: within a net one thread then took twice the time.
class FilterStream {
 public:
  FilterStream(const FilterRows& rows, std::ptrdiff_t steps)
      : rows_(rows), count_(9 * rows.rows), steps_(steps) {}
  bool any() const { return count_ > 0; }

  [[gnu::always_inline]] inline void step() {
    for (due_ += count_; due_ >= steps_; due_ -= steps_, ++begun_) {
      if (begun_ >= kFar) copy_row();
      if (begun_ >= kFar - kNear && near_.tap < 9) fetch_row<Cache::kL1>(near_);
      if (far_.tap < 9) fetch_row<Cache::kL2>(far_);
    }
  }

  void finish() {
    while (any() && copied_.tap < 9) copy_row();
  }

 private:
  static constexpr int kFar = 8, kNear = 2;  // rows ahead of the one that is copied

  struct Place {
    int tap = 0, row = 0;

    [[gnu::always_inline]] inline void next(int rows) {
      if (++row == rows) row = 0, ++tap;
    }
  };

  [[gnu::always_inline]] inline const float* from(const Place& place) const {
    return rows_.from + place.tap * rows_.from_tap + place.row * rows_.from_row;
  }

  template <Cache Into>
  [[gnu::always_inline]] inline void fetch_row(Place& place) {
    const float* p = from(place);
    for (int panel = 0; panel < rows_.panels; ++panel, p += kPanel) {
      for (int v = 0; v < kPanel; v += kLine) fetch<Into>(p + v);
    }
    place.next(rows_.rows);
  }

  [[gnu::always_inline]] inline void copy_row() {
    const float* p = from(copied_);
    float* to = rows_.to + copied_.tap * rows_.to_tap + copied_.row * rows_.to_row;
    for (int panel = 0; panel < rows_.panels; ++panel, p += kPanel, to += rows_.to_panel) {
      for (int v = 0; v < kPanel; v += kLanes) store(to + v, load(p + v));
    }
    copied_.next(rows_.rows);
  }

  FilterRows rows_;
  std::ptrdiff_t count_, steps_, due_ = 0;  // `due_` of steps_ parts of a row
  int begun_ = 0;                           // rows
  Place far_, near_, copied_;
};

// The rows of positions that are transformed together, F::kWindow / 2 pairs: the two of a point and
// its negative, and those of 0 and infinity.
template <class F>
constexpr int row_of_pair(int pair, int which) {
  return pair == 0 ? which * (F::kWindow - 1) : 2 * pair - 1 + which;
}

// One pair of rows of U, [2][F::kWindow][channels][kPanel], from taps [9][channels][kPanel]: row
// `which` begins at to[which], its positions are `stride` apart.
template <class F, int Pair>
void transform_pair(const float* taps, int channels, std::ptrdiff_t stride, float* const to[2]) {
  const std::ptrdiff_t tap = tap_length(channels);
  for (int k = 0; k < channels; ++k) {
    for (int v = 0; v < kPanel; v += kLanes) {
      const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(k) * kPanel + v;
      vfloat half[2][3];
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) {
        vfloat column[3], out[F::kWindow];
#pragma GCC unroll 3
        for (int i = 0; i < 3; ++i) column[i] = load(taps + (i * 3 + j) * tap + at);
        F::filter(column, out);  // of which the compiler keeps what the pair needs
        half[0][j] = out[row_of_pair<F>(Pair, 0)];
        half[1][j] = out[row_of_pair<F>(Pair, 1)];
      }
#pragma GCC unroll 2
      for (int which = 0; which < 2; ++which) {
        vfloat out[F::kWindow];
        F::filter(half[which], out);
#pragma GCC unroll 8
        for (int j = 0; j < F::kWindow; ++j) store(to[which] + j * stride + at, out[j]);
      }
    }
  }
}

template <class F>
void transform_pair(int pair, const float* taps, int channels, std::ptrdiff_t stride,
                    float* const to[2]) {
  switch (pair) {
    case 0:
      return transform_pair<F, 0>(taps, channels, stride, to);
    case 1:
      return transform_pair<F, 1>(taps, channels, stride, to);
    case 2:
      return transform_pair<F, 2>(taps, channels, stride, to);
    default:
      if constexpr (F::kWindow == 8) transform_pair<F, 3>(taps, channels, stride, to);
  }
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA
