#include "ops/dropout.h"

namespace unet {
namespace {

constexpr std::ptrdiff_t kMaxElements = std::ptrdiff_t{1} << 34;  // 2^32 blocks of 4

void check_ratio(const char* op, float ratio) {
  if (!(ratio >= 0.0f && ratio < 1.0f)) {
    fail(op, "ratio must be at least 0 and below 1, not " + std::to_string(ratio));
  }
}

}  // namespace

void dropout_mask(const Context& ctx, float ratio, MaskKey key, MaskSpan mask) {
  check_ratio("dropout_mask", ratio);
  if (mask.size > kMaxElements) {
    fail("dropout_mask", "a mask may have 2^34 elements, not " + std::to_string(mask.size));
  }
  if (ctx.device == Device::kCpu && key.further != nullptr) key.iteration += *key.further;
  dispatch(UNET_TWINS(dropout_mask), ctx, ratio, key, mask);
}

void dropout_forward(const Context& ctx, ConstView bottom, ConstMaskView mask, float ratio,
                     View top) {
  check_ratio("dropout_forward", ratio);
  check_same_shape("dropout_forward", "mask", mask, "bottom", bottom);
  check_same_shape("dropout_forward", "top", top, "bottom", bottom);
  dispatch(UNET_TWINS(dropout_forward), ctx, bottom, mask, ratio, top);
}

void dropout_backward(const Context& ctx, ConstView top_diff, ConstMaskView mask, float ratio,
                      View bottom_diff) {
  check_ratio("dropout_backward", ratio);
  check_same_shape("dropout_backward", "mask", mask, "top_diff", top_diff);
  check_same_shape("dropout_backward", "bottom_diff", bottom_diff, "top_diff", top_diff);
  dispatch(UNET_TWINS(dropout_backward), ctx, top_diff, mask, ratio, bottom_diff);
}

}  // namespace unet
