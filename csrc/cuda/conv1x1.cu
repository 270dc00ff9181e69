// conv1x1 on a GPU: few output channels by dot products (cuda/conv1x1_few.cu), more as a matrix
// product over the pixels (cuda/pointwise.h, pointwise_weights.h).
#include "cuda/conv1x1_few.h"
#include "cuda/pointwise.h"
#include "cuda/pointwise_weights.h"
#include "ops/conv1x1.h"

namespace unet::UNET_GPU {

void conv1x1_forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
                     FusedRelu relu, Span, View top) {
  if (conv1x1_few::takes(weight.ic, weight.oc)) {
    return conv1x1_few::forward(ctx, bottom, weight, bias, relu, top);
  }
  multiply_pixels_on<1, false>(ctx, "conv1x1_forward", bottom, weight, bias, relu, top);
}

void conv1x1_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight, Span,
                           View bottom_diff) {
  if (conv1x1_few::takes(weight.ic, weight.oc)) {
    return conv1x1_few::backward_data(ctx, top_diff, weight, bottom_diff);
  }
  multiply_pixels_on<1, true>(ctx, "conv1x1_backward_data", top_diff, weight, {}, {}, bottom_diff);
}

void conv1x1_backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff,
                              bool accumulate, Span workspace, Filter weight_diff, Span bias_diff) {
  if (conv1x1_few::takes(weight_diff.ic, weight_diff.oc)) {
    conv1x1_few::backward_weights(ctx, bottom, top_diff, accumulate, workspace.data, weight_diff);
  } else {
    sum_outer_products_on<1>(ctx, "conv1x1_backward_weights", bottom, top_diff, accumulate,
                             workspace.data, weight_diff);
  }
  if (bias_diff.data != nullptr) {
    bias_backward(ctx, top_diff, accumulate, workspace.data, bias_diff);
  }
}

std::ptrdiff_t conv1x1_workspace(const Context&, const Conv1x1Shape& shape, Pass pass) {
  if (pass != Pass::kBackwardWeights) return 0;
  const std::ptrdiff_t pixels = std::ptrdiff_t(shape.n) * shape.h * shape.w;
  const std::ptrdiff_t weights = conv1x1_few::takes(shape.ic, shape.oc)
                                     ? conv1x1_few::workspace(shape)
                                     : outer_product_workspace<1>(pixels, shape.ic, shape.oc);
  const std::ptrdiff_t biases = bias_workspace(shape.n, shape.oc, shape.h);
  return weights > biases ? weights : biases;
}

}  // namespace unet::UNET_GPU
