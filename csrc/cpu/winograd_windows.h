// Bringing the windows under tiles into the cache, in the order of the memory.
//
// The transforms read a window channel by channel, 36 or 64 pixels far apart each time, which the
// processor's prefetching cannot follow: from main memory that took four times as long as from a
// cache. So windows are touched before they are transformed and, where other products come before
// them, fetched meanwhile:
//
//   +-----------------------+
//   | tile | tile | tile |  |      rows of memory: those of tiles beside one another are one
//   +------+------+------+  |
//   +-----------------------+
#pragma once

#include "core/view.h"
#include "cpu/simd.h"
#include "cpu/winograd_cover.h"

namespace unet::cpu::UNET_ISA::winograd {
namespace {

// The rows of memory under the tiles [first, first + count), `margin` pixels larger and shifted by
// `offset`, part by part. Default: none.
template <class F>
class WindowRows {
 public:
  WindowRows() = default;
  WindowRows(const ConcatView& views, const Cover<F>& cover, int margin, int offset, int first,
             int count)
      : views_(count > 0 ? &views : nullptr),
        cover_(&cover),
        margin_(margin),
        offset_(offset),
        first_(first),
        end_(first + count),
        tile_(first) {}

  const float* begin = nullptr;  // of the row that `next` has found
  std::ptrdiff_t floats = 0;

  // Goes to the next row, if there is one.
  bool next() {
    if (views_ == nullptr) return false;
    while (++y_ >= bottom_) {
      if (tile_ == end_) {
        if (++part_ == views_->parts) {
          views_ = nullptr;
          return false;
        }
        tile_ = first_;
      }
      take_neighbours();
    }
    const ConstView& view = views_->part[part_];
    begin = view.pixel(image_, y_, left_);
    floats = (right_ - left_ - 1) * view.pixel_stride + view.c;
    return true;
  }

 private:
  // Goes to the tile after the last one taken, and those beside it.
  void take_neighbours() {
    const ConstView& view = views_->part[part_];
    const Tile tile = cover_->tile(tile_);
    int end = tile.x + tile.width;
    for (++tile_; tile_ < end_; ++tile_) {
      const Tile beside = cover_->tile(tile_);
      if (beside.image != tile.image || beside.y != tile.y || beside.x != end) break;
      end += beside.width;
    }
    image_ = tile.image;
    left_ = max(0, tile.x + offset_);
    right_ = min(view.w, end + offset_ + margin_);
    y_ = max(0, tile.y + offset_) - 1;
    bottom_ = left_ < right_ ? min(view.h, tile.y + offset_ + tile.height + margin_) : 0;
  }

  const ConcatView* views_ = nullptr;
  const Cover<F>* cover_ = nullptr;
  int margin_ = 0, offset_ = 0, first_ = 0, end_ = 0;
  int part_ = 0, tile_ = 0;                            // the next tile to be taken
  int image_ = 0, left_ = 0, right_ = 0, bottom_ = 0;  // of those taken together
  int y_ = 0;
};

// Reads one number of each cache line and does nothing with it (unlike a prefetch instruction,
// neither the compiler nor the processor leaves out a volatile read).
template <class F>
void touch(WindowRows<F> rows) {
  while (rows.next()) {
    for (std::ptrdiff_t i = 0; i < rows.floats; i += kLine) {
      static_cast<void>(*static_cast<const volatile float*>(rows.begin + i));
    }
  }
}

// Fetches rows while something else is computed, spread evenly over `steps` steps: a few lines
// every 16 channels of a product.
template <class F>
class WindowStream {
 public:
  explicit WindowStream(std::ptrdiff_t steps) : steps_(steps) {}

  // At most kMost times.
  void add(const WindowRows<F>& rows) {
    for (WindowRows<F> all = rows; all.next();) lines_ += ceil_div(all.floats, kLine);
    rows_[added_++] = rows;
    if (line_ == end_) next_row();
  }

  [[gnu::always_inline]] inline void step() {
    if (lines_ == 0) return;
    for (due_ += lines_; due_ >= steps_; due_ -= steps_) {
      fetch(line_);
      line_ += kLine;
      if (line_ >= end_) next_row();
    }
  }

 private:
  static constexpr int kMost = 2;

  // Apart from the products, whose registers a call would empty.
  [[gnu::noinline]] void next_row() {
    for (; at_ < added_; ++at_) {
      if (!rows_[at_].next()) continue;
      line_ = rows_[at_].begin;
      end_ = line_ + rows_[at_].floats;
      return;
    }
    lines_ = 0;
  }

  WindowRows<F> rows_[kMost];
  int added_ = 0, at_ = 0;
  std::ptrdiff_t lines_ = 0, steps_, due_ = 0;  // `due_` of steps_ parts of a line
  const float *line_ = nullptr, *end_ = nullptr;
};

}  // namespace
}  // namespace unet::cpu::UNET_ISA::winograd
