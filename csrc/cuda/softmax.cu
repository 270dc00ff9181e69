// softmax on a GPU: a thread for each pixel, which has few channels. Bound by memory.
#include "cuda/elements.h"
#include "ops/softmax.h"

namespace unet::UNET_GPU {
namespace {

__global__ void exponentials(Extent pixels, int channels, ConstView bottom, View top) {
  for_elements(pixels, [&](int n, int, int h, int w) {
    const float* x = bottom.pixel(n, h, w);
    float* p = top.pixel(n, h, w);
    float maximum = x[0], sum = 0;
    for (int c = 1; c < channels; ++c) maximum = x[c] > maximum ? x[c] : maximum;
    for (int c = 0; c < channels; ++c) sum += p[c] = expf(x[c] - maximum);
    for (int c = 0; c < channels; ++c) p[c] /= sum;
  });
}

__global__ void jacobian(Extent pixels, int channels, ConstView top, ConstView top_diff,
                         View bottom_diff) {
  for_elements(pixels, [&](int n, int, int h, int w) {
    const float *p = top.pixel(n, h, w), *from = top_diff.pixel(n, h, w);
    float* to = bottom_diff.pixel(n, h, w);
    float product = 0;
    for (int c = 0; c < channels; ++c) product += from[c] * p[c];
    for (int c = 0; c < channels; ++c) to[c] = p[c] * (from[c] - product);
  });
}

template <class T>
Extent pixels_of(const BasicView<T>& view) {
  Extent pixels = extent_of(view);
  pixels.c = 1;
  return pixels;
}

}  // namespace

void softmax_forward(const Context& ctx, ConstView bottom, View top) {
  launch_elements(ctx, "softmax_forward", exponentials, pixels_of(bottom), bottom.c, bottom, top);
}

void softmax_backward(const Context& ctx, ConstView top, ConstView top_diff, View bottom_diff) {
  launch_elements(ctx, "softmax_backward", jacobian, pixels_of(top), top.c, top, top_diff,
                  bottom_diff);
}

}  // namespace unet::UNET_GPU
