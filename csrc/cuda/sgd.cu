// sgd on a GPU: one pass over weight, diff and history, bound by memory.
#include "cuda/elements.h"
#include "cuda/regularize.h"
#include "ops/sgd.h"

namespace unet::UNET_GPU {
namespace {

__global__ void update(std::ptrdiff_t size, SgdStep step, float* weight, float* diff,
                       float* history) {
  const float rate = rate_of(step);
  for_flat(size, [&](std::ptrdiff_t i) {
    const float w = weight[i];
    const float h = step.momentum * history[i] + rate * regularized(step, diff[i], w);
    history[i] = h;
    weight[i] = w - h;
    if (step.keep_update) diff[i] = h;
  });
}

}  // namespace

void sgd_update(const Context& ctx, SgdStep step, Span weight, Span diff, Span history) {
  launch_flat(ctx, "sgd_update", update, weight.size, step, weight.data, diff.data, history.data);
}

}  // namespace unet::UNET_GPU
