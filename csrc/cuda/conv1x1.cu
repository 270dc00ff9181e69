// conv1x1 on a GPU: few output channels by dot products (cuda/conv1x1_few.cu), more as a product
// with one tap (cuda/convolution.h).
#include <algorithm>

#include "cuda/conv1x1_few.h"
#include "cuda/convolution.h"
#include "cuda/reduce.h"
#include "ops/conv1x1.h"
#include "ops/relu.h"

namespace unet::UNET_GPU {

void conv1x1_forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
                     FusedRelu relu, Span workspace, View top) {
  if (conv1x1_few::takes(weight.ic, weight.oc)) {
    return conv1x1_few::forward(ctx, bottom, weight, bias, relu, top);
  }
  Convolution c;
  c.name = "conv1x1_forward";
  c.from = bottom;
  c.weight = weight;
  c.to = top;
  c.bias = bias;
  c.relu = relu;
  convolve(ctx, c, Splitting::kMay, workspace);
}

void conv1x1_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                           const ReluOfBottom& relu, Span workspace, View bottom_diff) {
  if (conv1x1_few::takes(weight.ic, weight.oc)) {
    conv1x1_few::backward_data(ctx, top_diff, weight, bottom_diff);
  } else {
    Convolution c;
    c.name = "conv1x1_backward_data";
    c.is_backward = true;
    c.from = top_diff;
    c.weight = weight;
    c.to = bottom_diff;
    convolve(ctx, c, Splitting::kMay, workspace);
  }
  if (relu.on()) {
    UNET_GPU::relu_backward(ctx, relu.bottom, bottom_diff, relu.negative_slope, bottom_diff);
  }
}

void conv1x1_backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff,
                              bool accumulate, Span workspace, Filter weight_diff, Span bias_diff) {
  if (conv1x1_few::takes(weight_diff.ic, weight_diff.oc)) {
    conv1x1_few::backward_weights(ctx, bottom, top_diff, accumulate, workspace.data, weight_diff);
  } else {
    correlate(ctx, {"conv1x1_backward_weights", bottom, {}, top_diff}, accumulate, workspace,
              weight_diff);
  }
  if (bias_diff.data != nullptr) {
    bias_backward(ctx, top_diff, accumulate, workspace.data, bias_diff);
  }
}

std::ptrdiff_t conv1x1_workspace(const Context& ctx, const Conv1x1Shape& shape, Pass pass) {
  const std::ptrdiff_t pixels = std::ptrdiff_t(shape.n) * shape.h * shape.w;
  const bool few = conv1x1_few::takes(shape.ic, shape.oc);
  const ConvolutionSize size = {pixels, shape.ic, shape.oc};
  if (pass == Pass::kBackwardWeights) {
    return std::max(few ? conv1x1_few::workspace(shape) : correlate_workspace(ctx, size),
                    bias_workspace(shape.n, shape.oc, shape.h));
  }
  if (few) return 0;
  const ConvolutionSize backward = {pixels, shape.oc, shape.ic};
  return convolve_workspace(ctx, pass == Pass::kForward ? size : backward, Splitting::kMay);
}

}  // namespace unet::UNET_GPU
