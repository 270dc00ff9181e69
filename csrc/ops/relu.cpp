#include "ops/relu.h"

namespace unet {

void relu_forward(const Context& ctx, ConstView bottom, float negative_slope, View top) {
  check_same_shape("relu_forward", "top", top, "bottom", bottom);
  dispatch(UNET_TWINS(relu_forward), ctx, bottom, negative_slope, top);
}

void relu_backward(const Context& ctx, ConstView data, ConstView top_diff, float negative_slope,
                   View bottom_diff) {
  check_same_shape("relu_backward", "top_diff", top_diff, "data", data);
  check_same_shape("relu_backward", "bottom_diff", bottom_diff, "data", data);
  dispatch(UNET_TWINS(relu_backward), ctx, data, top_diff, negative_slope, bottom_diff);
}

}  // namespace unet
