// adam on the CPU: one pass over weight, diff and both histories. Bound by memory.
#include "ops/adam.h"

#include "cpu/parallel.h"
#include "cpu/regularize.h"
#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

[[gnu::always_inline]] inline vfloat square_root(vfloat x) {
  vfloat root;
  for (int i = 0; i < kLanes; ++i) root[i] = __builtin_sqrtf(x[i]);
  return root;
}

// `count` <= kLanes elements.
template <class Load, class Store>
[[gnu::always_inline]] inline void update(const AdamStep& step, float* weight, float* diff,
                                          float* history, float* history2, Load load, Store store) {
  const vfloat w = load(weight);
  const vfloat g = regularized(step, load(diff), w);
  const vfloat h = step.momentum * load(history) + (1 - step.momentum) * g;
  const vfloat h2 = step.momentum2 * load(history2) + (1 - step.momentum2) * (g * g);
  const vfloat change = step.rate * h / (square_root(h2) + step.delta);
  store(history, h);
  store(history2, h2);
  store(weight, w - change);
  if (step.keep_update) store(diff, change);
}

}  // namespace

void adam_update(const Context& ctx, AdamStep step, Span weight, Span diff, Span history,
                 Span history2) {
  const std::ptrdiff_t vectors = weight.size / kLanes;
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, weight.size))
  for (std::ptrdiff_t v = 0; v < vectors; ++v) {
    const std::ptrdiff_t i = v * kLanes;
    update(
        step, weight.data + i, diff.data + i, history.data + i, history2.data + i,
        [](const float* p) { return load(p); }, [](float* p, vfloat x) { store(p, x); });
  }
  const std::ptrdiff_t i = vectors * kLanes;
  if (const int rest = static_cast<int>(weight.size - i)) {
    // Lanes past the end hold 0 / delta, or 0 / 0 if that is 0; they are not stored.
    update(
        step, weight.data + i, diff.data + i, history.data + i, history2.data + i,
        [rest](const float* p) { return load_part(p, rest); },
        [rest](float* p, vfloat x) { store_part(p, x, rest); });
  }
}

}  // namespace unet::cpu::UNET_ISA
