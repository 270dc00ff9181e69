// The tile sizes of Winograd's minimal filtering and their transforms, one axis at a time. See
// cpu/winograd.h for how they make a convolution.
//
//            points                     products per output   error, relative to the largest
//   F2       0, 1, -1, inf                     16 / 4         0.3
//   F4       the same, 2, -2                   36 / 16        1
//   F6       the same, 1/2, -1/2               64 / 36        2
//
// The value of a filter at a point is the same for all sizes but for a factor. `filter` leaves it
// out, so that tiles of different sizes share the transformed filters, of which the smaller ones
// take those of their points; `top` makes up for it, except for kScale, by which the caller
// multiplies each axis.
//
// Each transform works on vectors of channels.
#pragma once

#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

// What a point x and its negative -x share: the even part and the odd one.
[[gnu::always_inline]] inline void plus_and_minus(vfloat even, vfloat odd, vfloat out[2]) {
  out[0] = even + odd;
  out[1] = even - odd;
}

// By additions, so that filters that are transformed between products leave these the multipliers.
[[gnu::always_inline]] inline vfloat twice(vfloat x) { return x + x; }
[[gnu::always_inline]] inline vfloat four_times(vfloat x) { return twice(twice(x)); }

// F(2x2,3x3).
struct F2 {
  static constexpr int kTile = 2;    // output pixels of a tile along one axis
  static constexpr int kWindow = 4;  // input pixels
  static constexpr float kScale = 1.0f / 2;

  // Bt: window of the bottom, 4 -> 4.
  [[gnu::always_inline]] static void bottom(const vfloat d[4], vfloat out[4]) {
    out[0] = d[0] - d[2];
    plus_and_minus(d[2], d[1], out + 1);
    out[3] = d[3] - d[1];
  }

  // At: products to a row of the top, 4 -> 2.
  [[gnu::always_inline]] static void top(const vfloat m[4], vfloat out[2]) {
    out[0] = 2.0f * m[0] + (m[1] + m[2]);
    out[1] = 2.0f * m[3] + (m[1] - m[2]);
  }
};

// F(4x4,3x3).
struct F4 {
  static constexpr int kTile = 4;
  static constexpr int kWindow = 6;
  static constexpr int kPositions = kWindow * kWindow;
  static constexpr float kScale = -1.0f / 6;

  // Bt, 6 -> 6.
  [[gnu::always_inline]] static void bottom(const vfloat d[6], vfloat out[6]) {
    const vfloat a = d[4] - 4.0f * d[2], b = d[3] - 4.0f * d[1];
    const vfloat c = d[4] - d[2], e = 2.0f * (d[3] - d[1]);
    out[0] = 4.0f * d[0] + (d[4] - 5.0f * d[2]);
    plus_and_minus(a, b, out + 1);
    plus_and_minus(c, e, out + 3);
    out[5] = 4.0f * d[1] + (d[5] - 5.0f * d[3]);
  }

  // At, 6 -> 4.
  [[gnu::always_inline]] static void top(const vfloat m[6], vfloat out[4]) {
    const vfloat a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    out[0] = a - 0.25f * c - 1.5f * m[0];
    out[1] = b - 0.5f * d;
    out[2] = a - c;
    out[3] = b - 2.0f * d - 6.0f * m[5];
  }

  // A: row of the top diff, 4 -> 6.
  [[gnu::always_inline]] static void top_diff(const vfloat y[4], vfloat out[6]) {
    const vfloat a = y[0] + y[2], b = y[1] + y[3];
    const vfloat c = y[0] + 4.0f * y[2], d = 2.0f * y[1] + 8.0f * y[3];
    out[0] = y[0];
    plus_and_minus(a, b, out + 1);
    plus_and_minus(c, d, out + 3);
    out[5] = y[3];
  }

  // G: filter, 3 -> 6.
  [[gnu::always_inline]] static void filter(const vfloat g[3], vfloat out[6]) {
    out[0] = g[0];
    plus_and_minus(g[0] + g[2], g[1], out + 1);
    plus_and_minus(g[0] + four_times(g[2]), twice(g[1]), out + 3);
    out[5] = g[2];
  }

  // Gt, with all factors: sum of products to a row of the filter diff, 6 -> 3.
  [[gnu::always_inline]] static void filter_diff(const vfloat s[6], vfloat out[3]) {
    const vfloat a = s[1] + s[2], b = s[1] - s[2], c = s[3] + s[4], d = s[3] - s[4];
    out[0] = s[0] * 0.25f + (c * (1.0f / 24) - a * (1.0f / 6));
    out[1] = d * (1.0f / 12) - b * (1.0f / 6);
    out[2] = s[5] + (c - a) * (1.0f / 6);
  }
};

// F(6x6,3x3).
struct F6 {
  static constexpr int kTile = 6;
  static constexpr int kWindow = 8;
  static constexpr int kPositions = kWindow * kWindow;
  static constexpr float kScale = -2.0f / 9;

  // Bt, 8 -> 8.
  [[gnu::always_inline]] static void bottom(const vfloat d[8], vfloat out[8]) {
    const vfloat a = d[2] + d[6] - 4.25f * d[4], b = d[1] + d[5] - 4.25f * d[3];
    const vfloat c = d[6] + (0.25f * d[2] - 1.25f * d[4]), e = d[5] + (0.25f * d[1] - 1.25f * d[3]);
    const vfloat f = d[6] + (4.0f * d[2] - 5.0f * d[4]), g = d[5] + (4.0f * d[1] - 5.0f * d[3]);
    out[0] = d[0] - d[6] + 5.25f * (d[4] - d[2]);
    plus_and_minus(a, b, out + 1);
    plus_and_minus(c, 2.0f * e, out + 3);
    plus_and_minus(f, 0.5f * g, out + 5);
    out[7] = d[7] - d[1] + 5.25f * (d[3] - d[5]);
  }

  // At, 8 -> 6.
  [[gnu::always_inline]] static void top(const vfloat m[8], vfloat out[6]) {
    const vfloat a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    const vfloat e = m[5] + m[6], f = m[5] - m[6];
    out[0] = a - 0.05f * c - 0.8f * e - 4.5f * m[0];
    out[1] = b - 0.1f * d - 0.4f * f;
    out[2] = a - 0.2f * c - 0.2f * e;
    out[3] = b - 0.4f * d - 0.1f * f;
    out[4] = a - 0.8f * c - 0.05f * e;
    out[5] = b - 1.6f * d - 0.025f * f - 4.5f * m[7];
  }

  // A, 6 -> 8.
  [[gnu::always_inline]] static void top_diff(const vfloat y[6], vfloat out[8]) {
    const vfloat a = y[0] + y[2] + y[4], b = y[1] + y[3] + y[5];
    const vfloat c = y[0] + 4.0f * (y[2] + 4.0f * y[4]);
    const vfloat d = 2.0f * (y[1] + 4.0f * (y[3] + 4.0f * y[5]));
    const vfloat e = y[0] + 0.25f * (y[2] + 0.25f * y[4]);
    const vfloat f = 0.5f * (y[1] + 0.25f * (y[3] + 0.25f * y[5]));
    out[0] = y[0];
    plus_and_minus(a, b, out + 1);
    plus_and_minus(c, d, out + 3);
    plus_and_minus(e, f, out + 5);
    out[7] = y[5];
  }

  // G, 3 -> 8.
  [[gnu::always_inline]] static void filter(const vfloat g[3], vfloat out[8]) {
    out[0] = g[0];
    plus_and_minus(g[0] + g[2], g[1], out + 1);
    plus_and_minus(g[0] + four_times(g[2]), twice(g[1]), out + 3);
    plus_and_minus(four_times(g[0]) + g[2], twice(g[1]), out + 5);
    out[7] = g[2];
  }

  // Gt, with all factors, 8 -> 3.
  [[gnu::always_inline]] static void filter_diff(const vfloat s[8], vfloat out[3]) {
    const vfloat a = s[1] + s[2], b = s[1] - s[2], c = s[3] + s[4], d = s[3] - s[4];
    const vfloat e = s[5] + s[6], f = s[5] - s[6];
    out[0] = s[0] + (e * (32.0f / 45) + c * (1.0f / 90) - a * (2.0f / 9));
    out[1] = f * (16.0f / 45) + d * (1.0f / 45) - b * (2.0f / 9);
    out[2] = s[7] + (e * (8.0f / 45) + c * (2.0f / 45) - a * (2.0f / 9));
  }
};

}  // namespace
}  // namespace unet::cpu::UNET_ISA
