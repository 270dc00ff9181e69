// Softmax over the channels of each pixel.
//
//   top[n,c,h,w] = exp(bottom[n,c,h,w] - m) / sum_k exp(bottom[n,k,h,w] - m),  m = max_k bottom
//   bottom_diff  = top * (top_diff - sum_k top_diff[n,k,h,w] * top[n,k,h,w])
//
// Shapes    bottom, top, top_diff, bottom_diff (N,C,H,W)
// Writes    top and bottom_diff with =
// In place  top may be bottom, bottom_diff may be top_diff
// Source    Caffe softmax_layer.cpp
#pragma once

#include "core/dispatch.h"

namespace unet {

UNET_OP(softmax_forward, void(const Context&, ConstView bottom, View top));
UNET_OP(softmax_backward,
        void(const Context&, ConstView top, ConstView top_diff, View bottom_diff));

}  // namespace unet
