// Vectors of float32, by the compiler's vector extensions. Every file of cpu/ is compiled once per
// instruction set: UNET_ISA names the namespace, UNET_LANES the floats in a register.
//
// Rule for all files of cpu/: no function that the linker could share between instruction sets
// (templates and inline functions of the standard library), or an old machine may be handed code
// compiled for a new one. Helpers live in anonymous namespaces; tests/test_build.py checks it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace unet::cpu::UNET_ISA {
namespace {

constexpr int kLanes = UNET_LANES;
constexpr int kLine = 16;  // floats of a cache line

typedef float vfloat __attribute__((vector_size(4 * UNET_LANES)));
typedef float vfloat_unaligned __attribute__((vector_size(4 * UNET_LANES), aligned(4), may_alias));

[[gnu::always_inline]] inline vfloat load(const float* p) {
  return *reinterpret_cast<const vfloat_unaligned*>(p);
}
[[gnu::always_inline]] inline void store(float* p, vfloat v) {
  *reinterpret_cast<vfloat_unaligned*>(p) = v;
}
// The first `count` < kLanes elements; the rest of the register is 0.
[[gnu::always_inline]] inline vfloat load_part(const float* p, int count) {
  float lanes[kLanes] = {};
  for (int i = 0; i < count; ++i) lanes[i] = p[i];
  return load(lanes);
}
[[gnu::always_inline]] inline void store_part(float* p, vfloat v, int count) {
  float lanes[kLanes];
  store(lanes, v);
  for (int i = 0; i < count; ++i) p[i] = lanes[i];
}
[[gnu::always_inline]] inline vfloat splat(float x) {
  return x - vfloat{};  // x - 0 keeps the sign of a zero, x + 0 would not
}

enum class Cache { kL1, kL2 };

// Brings the cache line at `p` into a cache. Without the empty statement GCC 12 finds that a
// function which only does this has no effect, and drops its calls.
template <Cache Into = Cache::kL1>
[[gnu::always_inline]] inline void fetch(const float* p) {
  __builtin_prefetch(p, 0, Into == Cache::kL1 ? 3 : 2);
  asm volatile("");
}

typedef std::int32_t vint __attribute__((vector_size(4 * UNET_LANES)));

// Exchanges the off-diagonal blocks of Size x Size elements of all pairs of such blocks.
template <int Size>
[[gnu::always_inline]] inline void transpose_blocks(vfloat rows[kLanes]) {
  vint upper, lower;  // of two rows: elements of the second count from kLanes
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    upper[i] = i & Size ? kLanes + i - Size : i;
    lower[i] = i & Size ? kLanes + i : i + Size;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i & Size) continue;
    const vfloat a = rows[i], b = rows[i + Size];
    rows[i] = __builtin_shuffle(a, b, upper);
    rows[i + Size] = __builtin_shuffle(a, b, lower);
  }
}

// The transpose of a square of kLanes rows.
[[gnu::always_inline]] inline void transpose(vfloat rows[kLanes]) {
  transpose_blocks<1>(rows);
  transpose_blocks<2>(rows);
  if constexpr (kLanes > 4) transpose_blocks<4>(rows);
  if constexpr (kLanes > 8) transpose_blocks<8>(rows);
}

template <class T>
[[gnu::always_inline]] constexpr T min(T a, T b) {
  return a < b ? a : b;
}
template <class T>
[[gnu::always_inline]] constexpr T max(T a, T b) {
  return a > b ? a : b;
}
template <class T>
[[gnu::always_inline]] inline void swap(T& a, T& b) {
  const T old = a;
  a = b;
  b = old;
}
constexpr std::ptrdiff_t ceil_div(std::ptrdiff_t a, std::ptrdiff_t b) { return (a + b - 1) / b; }
constexpr std::ptrdiff_t round_up(std::ptrdiff_t a, std::ptrdiff_t b) { return ceil_div(a, b) * b; }

}  // namespace
}  // namespace unet::cpu::UNET_ISA
