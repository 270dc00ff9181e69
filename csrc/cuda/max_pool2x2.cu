// max_pool2x2 on a GPU: a thread for each channel of a window, bound by memory.
#include "cuda/elements.h"
#include "ops/max_pool2x2.h"

namespace unet::UNET_GPU {
namespace {

// The first maximum of a window in row-major order; a NaN wins over every number.
struct Maximum {
  float value;
  int place;  // 2 * row + column within the window
};

__device__ __forceinline__ Maximum maximum_of(ConstView bottom, int n, int c, int oh, int ow) {
  Maximum best{bottom.pixel(n, 2 * oh, 2 * ow)[c], 0};
  for (int place = 1; place < 4; ++place) {
    const int h = 2 * oh + place / 2, w = 2 * ow + place % 2;
    if (h >= bottom.h || w >= bottom.w) continue;
    const float value = bottom.pixel(n, h, w)[c];
    if (value > best.value || value != value) best = {value, place};
  }
  return best;
}

__global__ void pool(Extent extent, ConstView bottom, View top) {
  for_elements(extent, [&](int n, int c, int oh, int ow) {
    top.pixel(n, oh, ow)[c] = maximum_of(bottom, n, c, oh, ow).value;
  });
}

// The bottom's diff may lie where the bottom does: a window is read whole before it is written.
__global__ void unpool(Extent extent, ConstView bottom, ConstView top_diff, bool accumulate,
                       SkipDiff skip, FusedRelu relu, View bottom_diff) {
  for_elements(extent, [&](int n, int c, int oh, int ow) {
    const int place = maximum_of(bottom, n, c, oh, ow).place;
    const float diff = top_diff.pixel(n, oh, ow)[c];
    for (int i = 0; i < 4; ++i) {
      const int h = 2 * oh + i / 2, w = 2 * ow + i % 2;
      if (h >= bottom.h || w >= bottom.w) continue;
      float& to = bottom_diff.pixel(n, h, w)[c];
      const bool is_positive = bottom.pixel(n, h, w)[c] > 0.0f;
      float value = i == place ? diff : 0.0f;
      if (accumulate) value += to;
      const int sh = h - skip.offset_h, sw = w - skip.offset_w;
      if (skip.diff.data != nullptr && sh >= 0 && sw >= 0 && sh < skip.diff.h && sw < skip.diff.w) {
        value += skip.diff.pixel(n, sh, sw)[c];
      }
      to = relu.on && !is_positive ? value * relu.negative_slope : value;
    }
  });
}

}  // namespace

void max_pool2x2_forward(const Context& ctx, ConstView bottom, View top) {
  launch_elements(ctx, "max_pool2x2_forward", pool, extent_of(top), bottom, top);
}

void max_pool2x2_backward(const Context& ctx, ConstView bottom, ConstView top_diff, bool accumulate,
                          SkipDiff skip, FusedRelu relu, View bottom_diff) {
  launch_elements(ctx, "max_pool2x2_backward", unpool, extent_of(top_diff), bottom, top_diff,
                  accumulate, skip, relu, bottom_diff);
}

}  // namespace unet::UNET_GPU
