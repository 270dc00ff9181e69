#include "ops/crop_concat.h"

namespace unet {
namespace {

void check(const char* op, const char* bottom_name, ConstView bottom, CropSlice slice,
           const char* top_name, ConstView top) {
  const auto refuse = [&](const std::string& why) {
    fail(op, why + " (" + bottom_name + " " + shape_string(bottom) + ", " + top_name + " " +
                 shape_string(top) + ")");
  };
  if (bottom.n != top.n) refuse(std::string(bottom_name) + " and " + top_name + " differ in N");
  if (slice.channel < 0 || slice.channel > top.c - bottom.c) {
    refuse("channels " + std::to_string(slice.channel) + " to " +
           std::to_string(slice.channel + bottom.c) + " do not lie inside " + top_name);
  }
  if (slice.offset_h < 0 || slice.offset_w < 0 || slice.offset_h > bottom.h - top.h ||
      slice.offset_w > bottom.w - top.w) {
    refuse("the window at offset " + std::to_string(slice.offset_h) + ", " +
           std::to_string(slice.offset_w) + " does not lie inside " + bottom_name);
  }
}

}  // namespace

void crop_concat_forward(const Context& ctx, ConstView bottom, CropSlice slice, View top) {
  check("crop_concat_forward", "bottom", bottom, slice, "top", top);
  dispatch(UNET_TWINS(crop_concat_forward), ctx, bottom, slice, top);
}

void crop_concat_backward(const Context& ctx, ConstView top_diff, CropSlice slice, bool accumulate,
                          View bottom_diff) {
  check("crop_concat_backward", "bottom_diff", bottom_diff, slice, "top_diff", top_diff);
  dispatch(UNET_TWINS(crop_concat_backward), ctx, top_diff, slice, accumulate, bottom_diff);
}

}  // namespace unet
