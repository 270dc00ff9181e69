// Stores that bypass the caches, for results that are larger than the caches anyhow.
//
// An ordinary store first fetches the line that it overwrites, so that writing costs as much again
// as reading, and pushes out of the caches what the kernel still needs. A streaming store does
// neither, if whole cache lines are written at once: one AVX-512 vector is one line. With narrower
// vectors the ops' order of writing would leave half-filled lines waiting, which costs more than it
// saves.
#pragma once

#if UNET_LANES == 16
#include <immintrin.h>
#endif

#include <cstdint>

#include "core/view.h"
#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

constexpr std::ptrdiff_t kLineBytes = 4 * kLine;

// Smaller results are left to the caches: about the L2 cache of a core. What is larger goes through
// the L3 cache, which threads and neighbours share; there it pushes out filters and transformed
// tiles that the next rows need, which costs more than reading it again saves (on Zen 4, forward,
// against streaming from 12 MB on: 0.96 of the time at 316 pixels, 0.98 at 572, 0.92 at width 16).
constexpr std::ptrdiff_t kMinStreamedBytes = 1 << 20;

// Whether to stream all whole vectors of `target`, one of `parts` of a blob, that begin at a
// multiple of kLanes channels.
[[maybe_unused]] inline bool worth_streaming(View target, int parts = 1) {
  const auto whole = [](std::ptrdiff_t floats) { return floats * 4 % kLineBytes == 0; };
  return UNET_LANES * 4 == kLineBytes && parts * target.count() * 4 >= kMinStreamedBytes &&
         reinterpret_cast<std::uintptr_t>(target.data) % kLineBytes == 0 &&
         whole(target.pixel_stride) && whole(target.row_stride) && whole(target.image_stride);
}

// `p` is the beginning of a cache line.
[[gnu::always_inline]] inline void stream(float* p, vfloat v) {
#if UNET_LANES == 16
  _mm512_stream_ps(p, v);
#else
  store(p, v);
#endif
}

template <bool Streamed>
[[gnu::always_inline]] inline void store_or_stream(float* p, vfloat v) {
  if constexpr (Streamed) {
    stream(p, v);
  } else {
    store(p, v);
  }
}

// Each thread calls it after its last streaming store and before another may read.
[[gnu::always_inline]] inline void finish_streaming() {
#if UNET_LANES == 16
  _mm_sfence();
#endif
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA
