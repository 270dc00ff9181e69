// sgd on the CPU: one pass over weight, diff and history. Bound by memory.
#include "ops/sgd.h"

#include "cpu/parallel.h"
#include "cpu/regularize.h"
#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

// `count` <= kLanes elements.
template <class Load, class Store>
[[gnu::always_inline]] inline void update(const SgdStep& step, float* weight, float* diff,
                                          float* history, Load load, Store store) {
  const vfloat w = load(weight);
  const vfloat h = step.momentum * load(history) + step.rate * regularized(step, load(diff), w);
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
