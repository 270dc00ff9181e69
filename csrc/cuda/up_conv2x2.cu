// up_conv2x2 on a GPU: products whose rows are the pixels of the bottom, with the 2 x 2 pixels of
// the top as parts or as taps (cuda/convolution.h).
#include <algorithm>

#include "cuda/convolution.h"
#include "cuda/reduce.h"
#include "ops/up_conv2x2.h"

namespace unet::UNET_GPU {
namespace {

constexpr int kScale = 2, kTaps = kScale * kScale;

}  // namespace

void up_conv2x2_forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
                        FusedRelu relu, Span workspace, View top) {
  Convolution c;
  c.name = "up_conv2x2_forward";
  c.from = bottom;
  c.weight = weight;
  c.to = top;
  c.scale = kScale;
  c.bias = bias;
  c.relu = relu;
  convolve(ctx, c, Splitting::kMay, workspace);
}

void up_conv2x2_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                              Span workspace, View bottom_diff) {
  Convolution c;
  c.name = "up_conv2x2_backward_data";
  c.is_backward = true;
  c.from = each_of(top_diff, kScale);
  c.taps = {kScale, top_diff.row_stride, top_diff.pixel_stride};
  c.weight = weight;
  c.to = bottom_diff;
  convolve(ctx, c, Splitting::kMay, workspace);
}

void up_conv2x2_backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff,
                                 bool accumulate, Span workspace, Filter weight_diff,
                                 Span bias_diff) {
  correlate(ctx, {"up_conv2x2_backward_weights", bottom, {}, top_diff, kScale}, accumulate,
            workspace, weight_diff);
  if (bias_diff.data != nullptr) {
    bias_backward(ctx, top_diff, accumulate, workspace.data, bias_diff);
  }
}

std::ptrdiff_t up_conv2x2_workspace(const Context& ctx, const UpConv2x2Shape& shape, Pass pass) {
  const std::ptrdiff_t pixels = std::ptrdiff_t(shape.n) * shape.h * shape.w;
  if (pass == Pass::kBackwardData) {
    return convolve_workspace(ctx, {pixels, shape.oc, shape.ic, kTaps}, Splitting::kMay);
  }
  const ConvolutionSize size = {pixels, shape.ic, shape.oc, 1, kTaps};
  if (pass == Pass::kForward) return convolve_workspace(ctx, size, Splitting::kMay);
  return std::max(correlate_workspace(ctx, size), bias_workspace(shape.n, shape.oc, 2 * shape.h));
}

}  // namespace unet::UNET_GPU
