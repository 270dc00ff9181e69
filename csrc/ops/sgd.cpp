#include "ops/sgd.h"

namespace unet {

void sgd_update(const Context& ctx, SgdStep step, Span weight, Span diff, Span history) {
  if (diff.size != weight.size || history.size != weight.size) {
    fail("sgd_update", "weight, diff and history must be of one size (weight " +
                           std::to_string(weight.size) + ", diff " + std::to_string(diff.size) +
                           ", history " + std::to_string(history.size) + ")");
  }
  if (ctx.device == Device::kCpu && step.rate_factor != nullptr) step.rate *= *step.rate_factor;
  dispatch(UNET_TWINS(sgd_update), ctx, step, weight, diff, history);
}

}  // namespace unet
