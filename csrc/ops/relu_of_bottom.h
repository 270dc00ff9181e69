// What the ops that apply a rectifier in their backward_data demand of it.
#pragma once

#include "core/activation.h"
#include "core/error.h"

namespace unet {

inline void check_relu(const char* op, const ReluOfBottom& relu, ConstView bottom_diff) {
  const ConstView& bottom = relu.bottom;
  if (!relu.on() || (bottom.n == bottom_diff.n && bottom.c == bottom_diff.c &&
                     bottom.h == bottom_diff.h && bottom.w == bottom_diff.w)) {
    return;
  }
  fail(op, "bottom " + shape_string(bottom) + " must have the shape of bottom_diff " +
               shape_string(bottom_diff));
}

}  // namespace unet
