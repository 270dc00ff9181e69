// The rectifier that a convolution or up-convolution may apply to its result before storing it.
#pragma once

namespace unet {

struct FusedRelu {
  bool on = false;
  float negative_slope = 0.0f;  // as in ops/relu.h
};

}  // namespace unet
