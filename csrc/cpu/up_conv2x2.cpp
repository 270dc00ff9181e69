// up_conv2x2 on the CPU: every tap sees every second pixel of the top as a picture of the bottom's
// size, so all passes are the matrix products of cpu/pointwise.h.
#include "ops/up_conv2x2.h"

#include "cpu/pointwise.h"
#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

constexpr int kTaps = 4;

// The pixels (2h + tap/2, 2w + tap%2).
template <class T>
[[gnu::always_inline]] inline BasicView<T> pixels_of_tap(BasicView<T> top, int tap) {
  return {top.pixel(0, tap / 2, tap % 2),
          top.n,
          top.c,
          top.h / 2,
          top.w / 2,
          top.image_stride,
          2 * top.row_stride,
          2 * top.pixel_stride};
}

pointwise::Taps taps_of(ConstFilter weight, bool transposed) {
  pointwise::Taps taps{{}, weight.ic, weight.oc, transposed};
  for (int tap = 0; tap < kTaps; ++tap) taps.weight[tap] = weight.tap(tap / 2, tap % 2);
  return taps;
}

}  // namespace

void up_conv2x2_forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
                        FusedRelu relu, Span workspace, View top) {
  pointwise::Product product;
  product.source[0] = bottom;
  product.dests = kTaps;
  for (int tap = 0; tap < kTaps; ++tap) product.dest[tap] = pixels_of_tap(top, tap);
  product.bias = bias.data;
  product.relu = relu;
  pointwise::multiply(ctx, product, taps_of(weight, false), workspace.data);
}

void up_conv2x2_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                              Span workspace, View bottom_diff) {
  pointwise::Product product;
  product.sources = kTaps;
  for (int tap = 0; tap < kTaps; ++tap) product.source[tap] = pixels_of_tap(top_diff, tap);
  product.dest[0] = bottom_diff;
  pointwise::multiply(ctx, product, taps_of(weight, true), workspace.data);
}

void up_conv2x2_backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff,
                                 bool accumulate, Span workspace, Filter weight_diff,
                                 Span bias_diff) {
  ConstView diff[kTaps];
  float* sums[kTaps];
  for (int tap = 0; tap < kTaps; ++tap) {
    diff[tap] = pixels_of_tap(top_diff, tap);
    sums[tap] = weight_diff.tap(tap / 2, tap % 2);
  }
  pointwise::sum_outer_products(ctx, bottom, diff, kTaps, accumulate, workspace.data, sums,
                                bias_diff);
}

std::ptrdiff_t up_conv2x2_workspace(const Context& ctx, const UpConv2x2Shape& s, Pass pass) {
  switch (pass) {
    case Pass::kForward:
      return pointwise::multiply_workspace(ctx, 1, kTaps, s.ic, s.oc, s.w);
    case Pass::kBackwardData:
      return pointwise::multiply_workspace(ctx, kTaps, 1, s.oc, s.ic, s.w);
    case Pass::kBackwardWeights:
      break;
  }
  return pointwise::sum_outer_products_workspace(ctx, kTaps, s.ic, s.oc, s.n * s.h, s.w);
}

}  // namespace unet::cpu::UNET_ISA
