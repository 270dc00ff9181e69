#include "ops/softmax.h"

namespace unet {

void softmax_forward(const Context& ctx, ConstView bottom, View top) {
  check_same_shape("softmax_forward", "top", top, "bottom", bottom);
  dispatch(UNET_TWINS(softmax_forward), ctx, bottom, top);
}

void softmax_backward(const Context& ctx, ConstView top, ConstView top_diff, View bottom_diff) {
  check_same_shape("softmax_backward", "top_diff", top_diff, "top", top);
  check_same_shape("softmax_backward", "bottom_diff", bottom_diff, "top", top);
  dispatch(UNET_TWINS(softmax_backward), ctx, top, top_diff, bottom_diff);
}

}  // namespace unet
