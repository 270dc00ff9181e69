// conv3x3 on a GPU: products with nine taps (cuda/convolution.h), but for the first layer, whose
// few input channels have kernels of their own (cuda/conv3x3_few.cu). Every algorithm is such a
// product; with kDirect the order of a pixel's sum does not depend on the shape, so it is never
// split.
#include <algorithm>

#include "cuda/conv3x3_few.h"
#include "cuda/convolution.h"
#include "cuda/reduce.h"
#include "ops/conv3x3.h"
#include "ops/relu.h"

namespace unet::UNET_GPU {
namespace {

Splitting splitting_of(Algorithm algorithm) {
  return algorithm == Algorithm::kDirect ? Splitting::kNever : Splitting::kMay;
}

}  // namespace

void conv3x3_forward(const Context& ctx, const ConcatView& only, ConstFilter weight, ConstSpan bias,
                     FusedRelu relu, Algorithm algorithm, Span workspace, View top) {
  const ConstView& bottom = only.part[0];
  if (conv3x3_few::takes(bottom.c)) {
    return conv3x3_few::forward(ctx, bottom, weight, bias, relu, top);
  }
  Convolution c;
  c.name = "conv3x3_forward";
  c.from = bottom;
  c.taps = {3, bottom.row_stride, bottom.pixel_stride};
  c.weight = weight;
  c.to = top;
  c.bias = bias;
  c.relu = relu;
  convolve(ctx, c, splitting_of(algorithm), workspace);
}

void conv3x3_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                           const ReluOfBottom& relu, Algorithm algorithm, Span workspace,
                           View bottom_diff) {
  Convolution c;
  c.name = "conv3x3_backward_data";
  c.is_backward = true;
  c.from = top_diff;
  c.taps = {3, -top_diff.row_stride, -top_diff.pixel_stride, true};
  c.weight = weight;
  c.to = bottom_diff;
  convolve(ctx, c, splitting_of(algorithm), workspace);
  if (relu.on()) {
    UNET_GPU::relu_backward(ctx, relu.bottom, bottom_diff, relu.negative_slope, bottom_diff);
  }
}

void conv3x3_backward_weights(const Context& ctx, const ConcatView& only, ConstView top_diff,
                              Algorithm, bool accumulate, Span workspace, Filter weight_diff,
                              Span bias_diff) {
  const ConstView& bottom = only.part[0];
  if (conv3x3_few::takes(bottom.c)) {
    return conv3x3_few::backward_weights(ctx, bottom, top_diff, accumulate, workspace.data,
                                         weight_diff, bias_diff);
  }
  const Taps taps = {3, bottom.row_stride, bottom.pixel_stride};
  correlate(ctx, {"conv3x3_backward_weights", bottom, taps, top_diff}, accumulate, workspace,
            weight_diff);
  if (bias_diff.data != nullptr) {
    bias_backward(ctx, top_diff, accumulate, workspace.data, bias_diff);
  }
}

std::ptrdiff_t conv3x3_workspace(const Context& ctx, const Conv3x3Shape& shape, Pass pass,
                                 Algorithm algorithm) {
  constexpr int kTaps = 9;
  const std::ptrdiff_t bottom_pixels = std::ptrdiff_t(shape.n) * shape.ih * shape.iw;
  const std::ptrdiff_t top_pixels = std::ptrdiff_t(shape.n) * (shape.ih - 2) * (shape.iw - 2);
  if (pass == Pass::kBackwardData) {
    return convolve_workspace(ctx, {bottom_pixels, shape.oc, shape.ic, kTaps},
                              splitting_of(algorithm));
  }
  const ConvolutionSize size = {top_pixels, shape.ic, shape.oc, kTaps};
  const bool few = conv3x3_few::takes(shape.ic);
  if (pass == Pass::kForward) {
    return few ? 0 : convolve_workspace(ctx, size, splitting_of(algorithm));
  }
  if (few) return conv3x3_few::workspace(shape);
  return std::max(correlate_workspace(ctx, size), bias_workspace(shape.n, shape.oc, shape.ih - 2));
}

}  // namespace unet::UNET_GPU
