// crop_concat on a GPU: copies, bound by memory.
#include "cuda/elements.h"
#include "ops/crop_concat.h"

namespace unet::UNET_GPU {
namespace {

__global__ void crop(Extent window, ConstView bottom, CropSlice slice, View top) {
  for_elements(window, [&](int n, int c, int h, int w) {
    top.pixel(n, h, w)[slice.channel + c] =
        bottom.pixel(n, slice.offset_h + h, slice.offset_w + w)[c];
  });
}

// Over the whole bottom: outside of the window there is nothing to bring back.
__global__ void uncrop(Extent bottom, ConstView top_diff, CropSlice slice, bool accumulate,
                       View bottom_diff) {
  for_elements(bottom, [&](int n, int c, int ih, int iw) {
    const int h = ih - slice.offset_h, w = iw - slice.offset_w;
    const bool is_inside = h >= 0 && w >= 0 && h < top_diff.h && w < top_diff.w;
    if (accumulate && !is_inside) return;
    float& to = bottom_diff.pixel(n, ih, iw)[c];
    const float diff = is_inside ? top_diff.pixel(n, h, w)[slice.channel + c] : 0.0f;
    to = accumulate ? to + diff : diff;
  });
}

}  // namespace

void crop_concat_forward(const Context& ctx, ConstView bottom, CropSlice slice, View top) {
  Extent window = extent_of(top);
  window.c = unsigned(bottom.c);
  launch_elements(ctx, "crop_concat_forward", crop, window, bottom, slice, top);
}

void crop_concat_backward(const Context& ctx, ConstView top_diff, CropSlice slice, bool accumulate,
                          View bottom_diff) {
  launch_elements(ctx, "crop_concat_backward", uncrop, extent_of(bottom_diff), top_diff, slice,
                  accumulate, bottom_diff);
}

}  // namespace unet::UNET_GPU
