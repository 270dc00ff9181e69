// relu on a GPU: one pass, bound by memory. Convolutions fuse the forward pass into their own
// store.
#include "cuda/elements.h"
#include "ops/relu.h"

namespace unet::UNET_GPU {
namespace {

__global__ void scale_negative(Extent extent, ConstView sign, ConstView from, float slope,
                               View to) {
  for_elements(extent, [&](int n, int c, int h, int w) {
    const float value = from.pixel(n, h, w)[c];
    to.pixel(n, h, w)[c] = sign.pixel(n, h, w)[c] > 0.0f ? value : value * slope;
  });
}

}  // namespace

void relu_forward(const Context& ctx, ConstView bottom, float negative_slope, View top) {
  launch_elements(ctx, "relu_forward", scale_negative, extent_of(bottom), bottom, bottom,
                  negative_slope, top);
}

void relu_backward(const Context& ctx, ConstView data, ConstView top_diff, float negative_slope,
                   View bottom_diff) {
  launch_elements(ctx, "relu_backward", scale_negative, extent_of(data), data, top_diff,
                  negative_slope, bottom_diff);
}

}  // namespace unet::UNET_GPU
