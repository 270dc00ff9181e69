// Pixels side by side: kLanes neighbouring pixels of a row in one vector, one channel at a time.
// For blobs of few channels (scores of two classes), where a vector over channels would be empty.
//
// exp_nonpositive is the exponential of softmax, log_positive the logarithm of its loss. Their
// errors stay below 1.5 and 2 units in the last place.
#pragma once

#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

// Lane i is p[i * stride] for i < count, else 0.
[[gnu::always_inline]] inline vfloat gather(const float* p, std::ptrdiff_t stride, int count) {
  if (count == kLanes && stride == 1) return load(p);
  if (count == kLanes && stride == 2) {  // of two classes, say: from two vectors that overlap
    vint every_second;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) every_second[i] = i < kLanes / 2 ? 2 * i : 2 * i + 1;
    return __builtin_shuffle(load(p), load(p + kLanes - 1), every_second);
  }
  float lanes[kLanes] = {};
  if (count == kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) lanes[i] = p[i * stride];
  } else {
    for (int i = 0; i < count; ++i) lanes[i] = p[i * stride];
  }
  return load(lanes);
}

[[gnu::always_inline]] inline void scatter(float* p, std::ptrdiff_t stride, int count, vfloat v) {
  if (count == kLanes && stride == 1) return store(p, v);
  float lanes[kLanes];
  store(lanes, v);
  if (count == kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) p[i * stride] = lanes[i];
  } else {
    for (int i = 0; i < count; ++i) p[i * stride] = lanes[i];
  }
}

// e^x for x <= 0 (or NaN), down to 0 through the subnormal numbers.
//
//   x = n*ln(2) + r, |r| <= ln(2)/2;   e^x = 2^n * e^r, e^r by its Taylor series to r^7/7!
//
// 2^n is applied as two factors, each of which is a normal number.
[[gnu::always_inline]] inline vfloat exp_nonpositive(vfloat x) {
  const vfloat lowest = splat(-104.0f);  // below the logarithm of half the smallest subnormal
  x = x < lowest ? lowest : x;
  const float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves no room for a fraction
  const vfloat n = (x * 1.44269504088896341f + round) - round;
  // ln(2) in two parts; the first has so few bits that n times it is exact
  const vfloat r = (x - n * 0.693359375f) + n * 2.12194440054690583e-4f;
  vfloat e = splat(1.0f / 5040.0f);
  e = e * r + 1.0f / 720.0f;
  e = e * r + 1.0f / 120.0f;
  e = e * r + 1.0f / 24.0f;
  e = e * r + 1.0f / 6.0f;
  e = e * r + 0.5f;
  e = e * (r * r) + r + 1.0f;
  const vint exponent = __builtin_convertvector(n, vint);
  const vint half = exponent >> 1;
  const vfloat power = reinterpret_cast<vfloat>((half + 127) << 23);
  const vfloat rest = reinterpret_cast<vfloat>((exponent - half + 127) << 23);
  return e * power * rest;
}

// ln(x) for positive normal numbers, infinity and NaN.
//
//   x = 2^n * m, sqrt(1/2) <= m < sqrt(2);   ln(m) = 2 artanh(s), s = (m - 1) / (m + 1)
//
// by its Taylor series to s^9 / 9
[[gnu::always_inline]] inline vfloat log_positive(vfloat x) {
  const std::int32_t least = 0x3f3504f3;  // the bits of sqrt(1/2)
  const vint above = reinterpret_cast<vint>(x) - least;
  const vfloat n = __builtin_convertvector(above >> 23, vfloat);
  const vfloat f = reinterpret_cast<vfloat>((above & 0x7fffff) + least) - 1.0f;
  const vfloat s = f / (f + 2.0f), z = s * s;
  vfloat series = splat(1.0f / 9.0f);
  series = series * z + 1.0f / 7.0f;
  series = series * z + 1.0f / 5.0f;
  series = series * z + 1.0f / 3.0f;
  // ln(2) in two parts, as above
  const vfloat rest = 2.0f * s + (2.0f * s * z * series - n * 2.12194440054690583e-4f);
  return x < splat(__builtin_inff()) ? n * 0.693359375f + rest : x;
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA
