#include "ops/max_pool2x2.h"

namespace unet {
namespace {

void check(const char* op, ConstView bottom, const char* top_name, ConstView top) {
  const int OH = (bottom.h + 1) / 2, OW = (bottom.w + 1) / 2;
  if (top.n == bottom.n && top.c == bottom.c && top.h == OH && top.w == OW) return;
  fail(op, std::string(top_name) + " must be " + shape_string(bottom.n, bottom.c, OH, OW) +
               " (bottom " + shape_string(bottom) + ", " + top_name + " " + shape_string(top) +
               ")");
}

}  // namespace

void max_pool2x2_forward(const Context& ctx, ConstView bottom, View top) {
  check("max_pool2x2_forward", bottom, "top", top);
  dispatch(UNET_TWINS(max_pool2x2_forward), ctx, bottom, top);
}

void max_pool2x2_backward(const Context& ctx, ConstView bottom, ConstView top_diff, bool accumulate,
                          SkipDiff skip, FusedRelu relu, View bottom_diff) {
  check("max_pool2x2_backward", bottom, "top_diff", top_diff);
  check_same_shape("max_pool2x2_backward", "bottom_diff", bottom_diff, "bottom", bottom);
  const ConstView& diff = skip.diff;
  const bool inside = skip.offset_h >= 0 && skip.offset_w >= 0 &&
                      skip.offset_h <= bottom.h - diff.h && skip.offset_w <= bottom.w - diff.w;
  if (diff.data != nullptr && (diff.n != bottom.n || diff.c != bottom.c || !inside)) {
    fail("max_pool2x2_backward", "skip_diff " + shape_string(diff) + " from (" +
                                     std::to_string(skip.offset_h) + ", " +
                                     std::to_string(skip.offset_w) +
                                     ") on is no window of the bottom " + shape_string(bottom));
  }
  dispatch(UNET_TWINS(max_pool2x2_backward), ctx, bottom, top_diff, accumulate, skip, relu,
           bottom_diff);
}

}  // namespace unet
