// relu on the CPU: one pass over the rows. Bound by memory bandwidth, so convolutions fuse the
// forward pass into their own store (ops/conv3x3.h).
#include "ops/relu.h"

#include "cpu/parallel.h"
#include "cpu/runs.h"
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
  const Runs runs = runs_of_row(data, top_diff, bottom_diff);
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, data.count()))
  for (int row = 0; row < data.n * data.h; ++row) {
    const int n = row / data.h, h = row % data.h;
    for (int run = 0; run < runs.count; ++run) {
      const float* sign = data.pixel(n, h, run);
      const float* from = top_diff.pixel(n, h, run);
      float* to = bottom_diff.pixel(n, h, run);
      int i = 0;
      for (; i + kLanes <= runs.length; i += kLanes) {
        store(to + i, scale_negative(load(sign + i), load(from + i), negative_slope));
      }
      for (; i < runs.length; ++i) to[i] = sign[i] > 0.0f ? from[i] : from[i] * negative_slope;
    }
  }
}

}  // namespace unet::cpu::UNET_ISA
