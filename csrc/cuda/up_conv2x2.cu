// up_conv2x2 on a GPU: matrix products over the pixels of the bottom, with four taps as columns or
// common dimension (cuda/pointwise.h, pointwise_weights.h).
#include "cuda/pointwise.h"
#include "cuda/pointwise_weights.h"
#include "ops/up_conv2x2.h"

namespace unet::UNET_GPU {
namespace {

constexpr int kScale = 2;

}  // namespace

void up_conv2x2_forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
                        FusedRelu relu, Span, View top) {
  multiply_pixels_on<kScale, false>(ctx, "up_conv2x2_forward", bottom, weight, bias, relu, top);
}

void up_conv2x2_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight, Span,
                              View bottom_diff) {
  multiply_pixels_on<kScale, true>(ctx, "up_conv2x2_backward_data", top_diff, weight, {}, {},
                                   bottom_diff);
}

void up_conv2x2_backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff,
                                 bool accumulate, Span workspace, Filter weight_diff,
                                 Span bias_diff) {
  sum_outer_products_on<kScale>(ctx, "up_conv2x2_backward_weights", bottom, top_diff, accumulate,
                                workspace.data, weight_diff);
  if (bias_diff.data != nullptr) {
    bias_backward(ctx, top_diff, accumulate, workspace.data, bias_diff);
  }
}

std::ptrdiff_t up_conv2x2_workspace(const Context&, const UpConv2x2Shape& shape, Pass pass) {
  if (pass != Pass::kBackwardWeights) return 0;
  const std::ptrdiff_t pixels = std::ptrdiff_t(shape.n) * shape.h * shape.w;
  const std::ptrdiff_t weights = outer_product_workspace<kScale>(pixels, shape.ic, shape.oc);
  const std::ptrdiff_t biases = bias_workspace(shape.n, shape.oc, 2 * shape.h);
  return weights > biases ? weights : biases;
}

}  // namespace unet::UNET_GPU
