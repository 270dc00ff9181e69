// Crop and concatenate: puts a window of one bottom into a slice of the channels of the top. The
// whole of a concatenation is one call per bottom.
//
//   top[n, channel+c, h, w] = bottom[n, c, offset_h+h, offset_w+w]
//   bottom_diff[n, c, offset_h+h, offset_w+w] (+)= top_diff[n, channel+c, h, w]
//   bottom_diff outside the window = 0, or untouched if `accumulate`
//
// Shapes    bottom, bottom_diff (N,C,IH,IW)  top, top_diff (N,TC,OH,OW)
//           channel + C <= TC, offset_h + OH <= IH, offset_w + OW <= IW
// Writes    that slice of top with =, bottom_diff with += if `accumulate`, else =
// In place  never
// Source    Caffe crop_layer.cpp, concat_layer.cpp; the 2019 fork's Concat, which crops centred
#pragma once

#include "core/dispatch.h"

namespace unet {

// Where a bottom's window and slice lie.
struct CropSlice {
  int offset_h = 0, offset_w = 0, channel = 0;
};

UNET_OP(crop_concat_forward, void(const Context&, ConstView bottom, CropSlice slice, View top));
UNET_OP(crop_concat_backward, void(const Context&, ConstView top_diff, CropSlice slice,
                                   bool accumulate, View bottom_diff));

}  // namespace unet
