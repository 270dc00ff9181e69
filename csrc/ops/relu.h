// Rectified linear unit with Caffe's negative_slope.
//
//   top = bottom                      where bottom > 0
//         negative_slope * bottom     elsewhere (also at 0 and -0)
//   bottom_diff = top_diff * (1 | negative_slope)
//
// Shapes    bottom, top, top_diff, bottom_diff (N, C, H, W)
// Writes    top and bottom_diff with =
// In place  top may be bottom, bottom_diff may be top_diff. The backward pass looks at the sign of
//           `data`, which may be the bottom or, for negative_slope >= 0, the top.
// Source    Caffe relu_layer.cpp
#pragma once

#include "core/dispatch.h"

namespace unet {

UNET_OP(relu_forward, void(const Context&, ConstView bottom, float negative_slope, View top));
UNET_OP(relu_backward, void(const Context&, ConstView data, ConstView top_diff,
                            float negative_slope, View bottom_diff));

}  // namespace unet
