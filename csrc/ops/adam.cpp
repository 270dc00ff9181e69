#include "ops/adam.h"

namespace unet {

void adam_update(const Context& ctx, AdamStep step, Span weight, Span diff, Span history,
                 Span history2) {
  if (diff.size != weight.size || history.size != weight.size || history2.size != weight.size) {
    fail("adam_update", "weight, diff, history and history2 must be of one size (weight " +
                            std::to_string(weight.size) + ", diff " + std::to_string(diff.size) +
                            ", history " + std::to_string(history.size) + ", history2 " +
                            std::to_string(history2.size) + ")");
  }
  if (ctx.device == Device::kCpu && step.rate_factor != nullptr) step.rate *= *step.rate_factor;
  dispatch(UNET_TWINS(adam_update), ctx, step, weight, diff, history, history2);
}

}  // namespace unet
