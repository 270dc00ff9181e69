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
                          View bottom_diff) {
  check("max_pool2x2_backward", bottom, "top_diff", top_diff);
  check_same_shape("max_pool2x2_backward", "bottom_diff", bottom_diff, "bottom", bottom);
  dispatch(UNET_TWINS(max_pool2x2_backward), ctx, bottom, top_diff, accumulate, bottom_diff);
}

}  // namespace unet
