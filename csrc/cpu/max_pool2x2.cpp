// max_pool2x2 on the CPU: one pass over the windows, vectors over channels. Bound by memory.
#include "ops/max_pool2x2.h"

#include "cpu/parallel.h"
#include "cpu/simd.h"
#include "cpu/stream.h"

namespace unet::cpu::UNET_ISA {
namespace {

// What `b`, later in the window, must be to replace the maximum so far.
[[gnu::always_inline]] inline auto beats(vfloat b, vfloat maximum) {
  return (b > maximum) | (b != b);
}
[[gnu::always_inline]] inline bool beats(float b, float maximum) { return b > maximum || b != b; }

template <class T>
[[gnu::always_inline]] inline T larger(T maximum, T b) {
  return beats(b, maximum) ? b : maximum;
}

// The four elements of one channel vector of a window, in row-major order.
template <class T>
struct Window {
  T v[4];
};

// bottom_diff of one window. kRight and kBelow say whether it has a second column and row.
template <bool kRight, bool kBelow, class T>
[[gnu::always_inline]] inline Window<T> route(const Window<T>& x, T diff, T zero) {
  Window<T> to{{diff, zero, zero, zero}};
  T maximum = x.v[0];
#pragma GCC unroll 4
  for (int i = 1; i < 4; ++i) {
    if ((i % 2 == 1 && !kRight) || (i / 2 == 1 && !kBelow)) continue;
    const auto wins = beats(x.v[i], maximum);
    maximum = wins ? x.v[i] : maximum;
#pragma GCC unroll 4
    for (int earlier = 0; earlier < i; ++earlier) to.v[earlier] = wins ? zero : to.v[earlier];
    to.v[i] = wins ? diff : zero;
  }
  return to;
}

// The diff before the ReLU that made the bottom, if there is one.
template <class T>
[[gnu::always_inline]] inline T through_relu(T diff, T bottom, FusedRelu relu) {
  if (!relu.on) return diff;
  return bottom > 0.0f ? diff : diff * relu.negative_slope;
}

// The four pixels of a window; those that it has not are not touched.
struct Pixels {
  const float *bottom[4], *skip[4];
  float* bottom_diff[4];
};

template <bool kRight, bool kBelow, bool kStreamed>
[[gnu::always_inline]] inline void backward_window(int C, const Pixels& at, const float* top_diff,
                                                   bool accumulate, FusedRelu relu) {
  constexpr bool kInside[4] = {true, kRight, kBelow, kRight && kBelow};
  int c = 0;
  for (; c + kLanes <= C; c += kLanes) {
    Window<vfloat> x;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) x.v[i] = kInside[i] ? load(at.bottom[i] + c) : vfloat{};
    const Window<vfloat> to = route<kRight, kBelow>(x, load(top_diff + c), vfloat{});
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      if (!kInside[i]) continue;
      float* diff = at.bottom_diff[i] + c;
      vfloat value = accumulate ? load(diff) + to.v[i] : to.v[i];
      if (at.skip[i] != nullptr) value += load(at.skip[i] + c);
      store_or_stream<kStreamed>(diff, through_relu(value, x.v[i], relu));
    }
  }
  for (; c < C; ++c) {
    Window<float> x;
    for (int i = 0; i < 4; ++i) x.v[i] = kInside[i] ? at.bottom[i][c] : 0.0f;
    const Window<float> to = route<kRight, kBelow>(x, top_diff[c], 0.0f);
    for (int i = 0; i < 4; ++i) {
      if (!kInside[i]) continue;
      float* diff = at.bottom_diff[i] + c;
      float value = accumulate ? *diff + to.v[i] : to.v[i];
      if (at.skip[i] != nullptr) value += at.skip[i][c];
      *diff = through_relu(value, x.v[i], relu);
    }
  }
}

// One row of windows.
template <bool kStreamed>
void backward_row(ConstView bottom, ConstView top_diff, int n, int oh, bool accumulate,
                  const SkipDiff& skip, FusedRelu relu, View bottom_diff) {
  const int C = bottom.c;
  const bool below = 2 * oh + 1 < bottom.h;
  for (int ow = 0; ow < top_diff.w; ++ow) {
    const bool right = 2 * ow + 1 < bottom.w;
    Pixels at;
    for (int i = 0; i < 4; ++i) {
      const int h = 2 * oh + (below ? i / 2 : 0), w = 2 * ow + (right ? i % 2 : 0);
      at.bottom[i] = bottom.pixel(n, h, w);
      at.bottom_diff[i] = bottom_diff.pixel(n, h, w);
      const int sh = h - skip.offset_h, sw = w - skip.offset_w;
      const bool has =
          skip.diff.data != nullptr && sh >= 0 && sw >= 0 && sh < skip.diff.h && sw < skip.diff.w;
      at.skip[i] = has ? skip.diff.pixel(n, sh, sw) : nullptr;
    }
    const float* diff = top_diff.pixel(n, oh, ow);
    if (right && below) {
      backward_window<true, true, kStreamed>(C, at, diff, accumulate, relu);
    } else if (right) {
      backward_window<true, false, kStreamed>(C, at, diff, accumulate, relu);
    } else if (below) {
      backward_window<false, true, kStreamed>(C, at, diff, accumulate, relu);
    } else {
      backward_window<false, false, kStreamed>(C, at, diff, accumulate, relu);
    }
  }
  if constexpr (kStreamed) finish_streaming();
}

// One row of windows.
template <bool kStreamed>
void forward_row(ConstView bottom, int n, int oh, View top) {
  const int h0 = 2 * oh, h1 = min(h0 + 1, bottom.h - 1);  // at the border twice the same row:
  for (int ow = 0; ow < top.w; ++ow) {                    // the maximum stays what it is
    const int w0 = 2 * ow, w1 = min(w0 + 1, bottom.w - 1);
    const float* x00 = bottom.pixel(n, h0, w0);
    const float* x01 = bottom.pixel(n, h0, w1);
    const float* x10 = bottom.pixel(n, h1, w0);
    const float* x11 = bottom.pixel(n, h1, w1);
    float* to = top.pixel(n, oh, ow);
    int c = 0;
    for (; c + kLanes <= top.c; c += kLanes) {
      const vfloat above = larger(load(x00 + c), load(x01 + c));
      const vfloat most = larger(larger(above, load(x10 + c)), load(x11 + c));
      store_or_stream<kStreamed>(to + c, most);
    }
    for (; c < top.c; ++c) to[c] = larger(larger(larger(x00[c], x01[c]), x10[c]), x11[c]);
  }
  if constexpr (kStreamed) finish_streaming();
}

}  // namespace

void max_pool2x2_forward(const Context& ctx, ConstView bottom, View top) {
  const auto row_of_windows = worth_streaming(top) ? forward_row<true> : forward_row<false>;
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, bottom.count()))
  for (int row = 0; row < top.n * top.h; ++row) {
    row_of_windows(bottom, row / top.h, row % top.h, top);
  }
}

void max_pool2x2_backward(const Context& ctx, ConstView bottom, ConstView top_diff, bool accumulate,
                          SkipDiff skip, FusedRelu relu, View bottom_diff) {
  const bool streamed = !accumulate && worth_streaming(bottom_diff);
  const auto row_of_windows = streamed ? backward_row<true> : backward_row<false>;
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, bottom.count()))
  for (int row = 0; row < top_diff.n * top_diff.h; ++row) {
    row_of_windows(bottom, top_diff, row / top_diff.h, row % top_diff.h, accumulate, skip, relu,
                   bottom_diff);
  }
}

}  // namespace unet::cpu::UNET_ISA
