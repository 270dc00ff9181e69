// sgd on the CPU: one pass over weight, diff and history. Bound by memory.
#include "ops/sgd.h"

#include "cpu/parallel.h"
#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

[[gnu::always_inline]] inline vfloat sign(vfloat x) {
  const vfloat one = splat(1.0f);
  return (x > 0.0f ? one : vfloat{}) - (x < 0.0f ? one : vfloat{});
}

// `count` <= kLanes elements.
template <class Load, class Store>
[[gnu::always_inline]] inline void update(const SgdStep& step, float* weight, float* diff,
                                          float* history, Load load, Store store) {
  const vfloat w = load(weight);
  const vfloat decayed = step.regularization == Regularization::kL2 ? w : sign(w);
  const vfloat g = step.scale * load(diff) + step.weight_decay * decayed;
  const vfloat h = step.momentum * load(history) + step.rate * g;
  store(history, h);
  store(weight, w - h);
  if (step.keep_update) store(diff, h);
}

}  // namespace

void sgd_update(const Context& ctx, SgdStep step, Span weight, Span diff, Span history) {
  const std::ptrdiff_t vectors = weight.size / kLanes;
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, weight.size))
  for (std::ptrdiff_t v = 0; v < vectors; ++v) {
    const std::ptrdiff_t i = v * kLanes;
    update(
        step, weight.data + i, diff.data + i, history.data + i,
        [](const float* p) { return load(p); }, [](float* p, vfloat x) { store(p, x); });
  }
  const std::ptrdiff_t i = vectors * kLanes;
  if (const int rest = static_cast<int>(weight.size - i)) {
    update(
        step, weight.data + i, diff.data + i, history.data + i,
        [rest](const float* p) { return load_part(p, rest); },
        [rest](float* p, vfloat x) { store_part(p, x, rest); });
  }
}

}  // namespace unet::cpu::UNET_ISA
