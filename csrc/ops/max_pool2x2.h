// 2x2 max pooling, stride 2, with Caffe's rounding: windows at an odd border are clipped.
//
//   top[n,c,oh,ow] = max of bottom[n,c,h,w] over h in {2*oh, 2*oh+1}, w in {2*ow, 2*ow+1} inside
//   bottom_diff[n,c,h,w] (+)= top_diff[n,c,oh,ow] at the window's maximum, 0 elsewhere
//
// The backward pass may do at once what follows where a skip connection leaves the bottom and a
// ReLU made it, as everywhere in the contracting path; each alone would read and write the whole
// diff:
//
//   bottom_diff[n,c,h,w] = (the above + skip.diff[n,c,h-offset_h,w-offset_w], where that exists)
//                          * (1 where bottom > 0, relu.negative_slope elsewhere, if relu.on)
//
// A tie goes to the first in row-major order. A NaN wins over every number, so that it stays
// visible (Caffe drops it). The backward pass finds the maximum again from the bottom: reading it
// once more costs less than storing and reading a mask.
//
// Shapes    bottom, bottom_diff (N,C,H,W)  top, top_diff (N,C,ceil(H/2),ceil(W/2))
//           skip.diff (N,C,SH,SW) inside the bottom, or null
// Writes    top with =, bottom_diff with += if `accumulate`, else =
// In place  bottom_diff may be bottom (without `accumulate`)
// Source    Caffe pooling_layer.cpp: ceil((H-2)/2)+1
#pragma once

#include "core/activation.h"
#include "core/dispatch.h"

namespace unet {

// The diff that comes back along a skip connection: of the window of the bottom that begins at
// (offset_h, offset_w).
struct SkipDiff {
  ConstView diff;
  int offset_h = 0, offset_w = 0;
};

UNET_OP(max_pool2x2_forward, void(const Context&, ConstView bottom, View top));
UNET_OP(max_pool2x2_backward,
        void(const Context&, ConstView bottom, ConstView top_diff, bool accumulate, SkipDiff skip,
             FusedRelu relu, View bottom_diff));

}  // namespace unet
