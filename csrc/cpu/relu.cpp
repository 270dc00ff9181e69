// relu on the CPU: one pass over the rows. Bound by memory bandwidth, so convolutions fuse the
// forward pass into their own store (ops/conv3x3.h).
#include "ops/relu.h"

#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

[[gnu::always_inline]] inline vfloat scale_negative(vfloat sign, vfloat value, float slope) {
  return sign > 0.0f ? value : value * slope;
}

}  // namespace

void relu_forward(const Context& ctx, ConstView bottom, float negative_slope, View top) {
  UNET_ISA::relu_backward(ctx, bottom, bottom, negative_slope, top);  // the same formula
}

void relu_backward(const Context& ctx, ConstView data, ConstView top_diff, float negative_slope,
                   View bottom_diff) {
  const int C = data.c;
#pragma omp parallel for schedule(static) num_threads(ctx.threads)
  for (int row = 0; row < data.n * data.h; ++row) {
    const int n = row / data.h, h = row % data.h;
    for (int w = 0; w < data.w; ++w) {
      const float* sign = data.pixel(n, h, w);
      const float* from = top_diff.pixel(n, h, w);
      float* to = bottom_diff.pixel(n, h, w);
      int c = 0;
      for (; c + kLanes <= C; c += kLanes) {
        store(to + c, scale_negative(load(sign + c), load(from + c), negative_slope));
      }
      for (; c < C; ++c) to[c] = sign[c] > 0.0f ? from[c] : from[c] * negative_slope;
    }
  }
}

}  // namespace unet::cpu::UNET_ISA
