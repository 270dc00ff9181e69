// crop_concat on the CPU: copies of runs of floats. Bound by memory.
#include "ops/crop_concat.h"

#include <string.h>

#include "cpu/parallel.h"
#include "cpu/runs.h"
#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

// The part of `top` that holds the bottom's C channels.
template <class T>
[[gnu::always_inline]] inline BasicView<T> channels_of(BasicView<T> top, int channel, int C) {
  top.data += channel;
  top.c = C;
  return top;
}

// The window of `bottom` that has the top's size.
template <class T>
[[gnu::always_inline]] inline BasicView<T> window_of(BasicView<T> bottom, CropSlice slice, int OH,
                                                     int OW) {
  bottom.data = bottom.pixel(0, slice.offset_h, slice.offset_w);
  bottom.h = OH;
  bottom.w = OW;
  return bottom;
}

[[gnu::always_inline]] inline void add(float* to, const float* from, int length) {
  int i = 0;
  for (; i + kLanes <= length; i += kLanes) store(to + i, load(to + i) + load(from + i));
  for (; i < length; ++i) to[i] += from[i];
}

// Zeros in pixels [begin, end) of a row.
[[gnu::always_inline]] inline void clear(View view, int n, int h, int begin, int end) {
  if (view.pixel_stride == view.c) {
    memset(view.pixel(n, h, begin), 0, sizeof(float) * (end - begin) * view.c);
    return;
  }
  for (int w = begin; w < end; ++w) memset(view.pixel(n, h, w), 0, sizeof(float) * view.c);
}

}  // namespace

void crop_concat_forward(const Context& ctx, ConstView bottom, CropSlice slice, View top) {
  const ConstView from = window_of(bottom, slice, top.h, top.w);
  const View to = channels_of(top, slice.channel, bottom.c);
  const Runs runs = runs_of_row(from, to);
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, to.count()))
  for (int row = 0; row < to.n * to.h; ++row) {
    const int n = row / to.h, h = row % to.h;
    for (int run = 0; run < runs.count; ++run) {
      memcpy(to.pixel(n, h, run), from.pixel(n, h, run), sizeof(float) * runs.length);
    }
  }
}

void crop_concat_backward(const Context& ctx, ConstView top_diff, CropSlice slice, bool accumulate,
                          View bottom_diff) {
  const ConstView from = channels_of(top_diff, slice.channel, bottom_diff.c);
  const View to = window_of(bottom_diff, slice, top_diff.h, top_diff.w);
  const Runs runs = runs_of_row(from, to);
  const int IH = bottom_diff.h, IW = bottom_diff.w;
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, to.count()))
  for (int row = 0; row < bottom_diff.n * IH; ++row) {
    const int n = row / IH, ih = row % IH, h = ih - slice.offset_h;
    if (h < 0 || h >= to.h) {
      if (!accumulate) clear(bottom_diff, n, ih, 0, IW);
      continue;
    }
    if (!accumulate) {
      clear(bottom_diff, n, ih, 0, slice.offset_w);
      clear(bottom_diff, n, ih, slice.offset_w + to.w, IW);
    }
    for (int run = 0; run < runs.count; ++run) {
      if (accumulate) {
        add(to.pixel(n, h, run), from.pixel(n, h, run), runs.length);
      } else {
        memcpy(to.pixel(n, h, run), from.pixel(n, h, run), sizeof(float) * runs.length);
      }
    }
  }
}

}  // namespace unet::cpu::UNET_ISA
