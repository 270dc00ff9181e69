// 2x2 max pooling, stride 2, with Caffe's rounding: windows at an odd border are clipped.
//
//   top[n,c,oh,ow] = max of bottom[n,c,h,w] over h in {2*oh, 2*oh+1}, w in {2*ow, 2*ow+1} inside
//   bottom_diff[n,c,h,w] (+)= top_diff[n,c,oh,ow] at the window's maximum, 0 elsewhere
//
// A tie goes to the first in row-major order. A NaN wins over every number, so that it stays
// visible (Caffe drops it). The backward pass finds the maximum again from the bottom: reading it
// once more costs less than storing and reading a mask.
//
// Shapes    bottom, bottom_diff (N,C,H,W)  top, top_diff (N,C,ceil(H/2),ceil(W/2))
// Writes    top with =, bottom_diff with += if `accumulate`, else =
// In place  bottom_diff may be bottom (without `accumulate`)
// Source    Caffe pooling_layer.cpp: ceil((H-2)/2)+1
#pragma once

#include "core/dispatch.h"

namespace unet {

UNET_OP(max_pool2x2_forward, void(const Context&, ConstView bottom, View top));
UNET_OP(max_pool2x2_backward, void(const Context&, ConstView bottom, ConstView top_diff,
                                   bool accumulate, View bottom_diff));

}  // namespace unet
