// dropout on the CPU. Drawing costs 10 rounds of integer arithmetic per 4 elements; kLanes blocks
// are drawn side by side so that the compiler keeps one counter word of all of them in a vector.
// Applying a mask is bound by memory.
#include "ops/dropout.h"

#include "core/philox.h"
#include "cpu/parallel.h"
#include "cpu/runs.h"
#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

typedef std::uint8_t vbyte __attribute__((vector_size(kLanes)));
typedef std::uint8_t vbyte_unaligned __attribute__((vector_size(kLanes), aligned(1), may_alias));

// mask[4*i + j] for `count` <= kLanes blocks i.
[[gnu::always_inline]] inline void draw_blocks(std::ptrdiff_t block, MaskKey key,
                                               std::uint32_t threshold, std::uint8_t* mask) {
  PhiloxBlock words[kLanes];
#pragma GCC ivdep
  for (int lane = 0; lane < kLanes; ++lane) {
    words[lane] = philox4x32({{static_cast<std::uint32_t>(block + lane), key.layer,
                               static_cast<std::uint32_t>(key.iteration),
                               static_cast<std::uint32_t>(key.iteration >> 32)}},
                             key.seed);
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int j = 0; j < 4; ++j) mask[4 * lane + j] = words[lane].word[j] >= threshold;
  }
}

}  // namespace

void dropout_mask(const Context& ctx, float ratio, MaskKey key, MaskSpan mask) {
  const auto threshold = static_cast<std::uint32_t>(static_cast<double>(ratio) * 4294967296.0);
  constexpr std::ptrdiff_t kGroup = 4 * kLanes;  // elements drawn side by side
  const std::ptrdiff_t groups = ceil_div(mask.size, kGroup);
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, mask.size))
  for (std::ptrdiff_t group = 0; group < groups; ++group) {
    const std::ptrdiff_t begin = group * kGroup, count = min(kGroup, mask.size - begin);
    if (count == kGroup) {
      draw_blocks(begin / 4, key, threshold, mask.data + begin);
      continue;
    }
    std::uint8_t last[kGroup];
    draw_blocks(begin / 4, key, threshold, last);
    for (std::ptrdiff_t i = 0; i < count; ++i) mask.data[begin + i] = last[i];
  }
}

void dropout_forward(const Context& ctx, ConstView bottom, ConstMaskView mask, float ratio,
                     View top) {
  const float scale = 1.0f / (1.0f - ratio);
  const Runs runs = runs_of_row(bottom, mask, top);
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, bottom.count()))
  for (int row = 0; row < bottom.n * bottom.h; ++row) {
    const int n = row / bottom.h, h = row % bottom.h;
    for (int run = 0; run < runs.count; ++run) {
      const float* from = bottom.pixel(n, h, run);
      const std::uint8_t* kept = mask.pixel(n, h, run);
      float* to = top.pixel(n, h, run);
      int i = 0;
      for (; i + kLanes <= runs.length; i += kLanes) {
        const vbyte bytes = *reinterpret_cast<const vbyte_unaligned*>(kept + i);
        store(to + i, load(from + i) * (__builtin_convertvector(bytes, vfloat) * scale));
      }
      for (; i < runs.length; ++i) to[i] = from[i] * (static_cast<float>(kept[i]) * scale);
    }
  }
}

void dropout_backward(const Context& ctx, ConstView top_diff, ConstMaskView mask, float ratio,
                      View bottom_diff) {
  UNET_ISA::dropout_forward(ctx, top_diff, mask, ratio, bottom_diff);  // the same formula
}

}  // namespace unet::cpu::UNET_ISA
