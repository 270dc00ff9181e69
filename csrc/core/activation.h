// Rectifiers that a convolution or up-convolution applies to its result before storing it.
#pragma once

#include "core/view.h"

namespace unet {

// forward: the one that follows.
struct FusedRelu {
  bool on = false;
  float negative_slope = 0.0f;  // as in ops/relu.h
};

// backward_data: the one in place that made the bottom, whose own backward pass is to come next.
struct ReluOfBottom {
  ConstView bottom;  // data; without, there is none
  float negative_slope = 0.0f;

  bool on() const { return bottom.data != nullptr; }
};

}  // namespace unet
