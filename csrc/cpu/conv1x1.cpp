// conv1x1 on the CPU: few output channels by dot products (cpu/conv1x1_few.cpp), more as a matrix
// product over the pixels (cpu/pointwise.cpp).
#include "ops/conv1x1.h"

#include "cpu/bias.h"
#include "cpu/conv1x1_few.h"
#include "cpu/pointwise.h"
#include "cpu/simd.h"
#include "ops/relu.h"

namespace unet::cpu::UNET_ISA {
namespace {

[[gnu::always_inline]] inline bool is_few(int OC) { return OC < kLanes; }

pointwise::Taps tap_of(ConstFilter weight, bool transposed) {
  return {{weight.data}, weight.ic, weight.oc, transposed};
}

}  // namespace

void conv1x1_forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
                     FusedRelu relu, Span workspace, View top) {
  if (is_few(weight.oc)) {
    return few::forward(ctx, bottom, weight, bias, relu, workspace.data, top);
  }
  pointwise::Product product;
  product.source[0] = bottom;
  product.dest[0] = top;
  product.bias = bias.data;
  product.relu = relu;
  pointwise::multiply(ctx, product, tap_of(weight, false), workspace.data);
}

void conv1x1_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                           const ReluOfBottom& relu, Span workspace, View bottom_diff) {
  if (is_few(weight.oc)) {
    return few::backward_data(ctx, top_diff, weight, relu, workspace.data, bottom_diff);
  }
  pointwise::Product product;
  product.source[0] = top_diff;
  product.dest[0] = bottom_diff;
  pointwise::multiply(ctx, product, tap_of(weight, true), workspace.data);
  if (relu.on()) {
    UNET_ISA::relu_backward(ctx, relu.bottom, bottom_diff, relu.negative_slope, bottom_diff);
  }
}

void conv1x1_backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff,
                              bool accumulate, Span workspace, Filter weight_diff, Span bias_diff) {
  if (!is_few(weight_diff.oc)) {
    return pointwise::sum_outer_products(ctx, bottom, &top_diff, 1, accumulate, workspace.data,
                                         &weight_diff.data, bias_diff);
  }
  few::backward_weights(ctx, bottom, top_diff, accumulate, workspace.data, weight_diff);
  if (bias_diff.data != nullptr) {
    bias_backward(ctx, top_diff, accumulate, workspace.data, bias_diff);
  }
}

std::ptrdiff_t conv1x1_workspace(const Context& ctx, const Conv1x1Shape& s, Pass pass) {
  const bool few = is_few(s.oc);
  switch (pass) {
    case Pass::kForward:
      return few ? few::workspace(s, pass)
                 : pointwise::multiply_workspace(ctx, 1, 1, s.ic, s.oc, s.w);
    case Pass::kBackwardData:
      return few ? few::workspace(s, pass)
                 : pointwise::multiply_workspace(ctx, 1, 1, s.oc, s.ic, s.w);
    case Pass::kBackwardWeights:
      break;
  }
  return few ? max(few::workspace(s, pass), bias_workspace(s.oc))
             : pointwise::sum_outer_products_workspace(ctx, 1, s.ic, s.oc, s.n * s.h, s.w);
}

}  // namespace unet::cpu::UNET_ISA
