// adam on a GPU: one pass over weight, diff and both histories, bound by memory.
#include "cuda/elements.h"
#include "cuda/regularize.h"
#include "ops/adam.h"

namespace unet::UNET_GPU {
namespace {

__global__ void update(std::ptrdiff_t size, AdamStep step, float* weight, float* diff,
                       float* history, float* history2) {
  const float rate = rate_of(step);
  for_flat(size, [&](std::ptrdiff_t i) {
    const float w = weight[i], g = regularized(step, diff[i], w);
    const float h = step.momentum * history[i] + (1 - step.momentum) * g;
    const float h2 = step.momentum2 * history2[i] + (1 - step.momentum2) * (g * g);
    const float change = rate * h / (sqrtf(h2) + step.delta);
    history[i] = h;
    history2[i] = h2;
    weight[i] = w - change;
    if (step.keep_update) diff[i] = change;
  });
}

}  // namespace

void adam_update(const Context& ctx, AdamStep step, Span weight, Span diff, Span history,
                 Span history2) {
  launch_flat(ctx, "adam_update", update, weight.size, step, weight.data, diff.data, history.data,
              history2.data);
}

}  // namespace unet::UNET_GPU
