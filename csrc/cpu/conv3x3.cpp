// conv3x3 on the CPU: which algorithm serves which shape. The algorithms themselves:
//   conv3x3_direct.cpp             all passes, register-tiled, one fixed order of summation
//   conv3x3_winograd.cpp           forward and backward_data by Winograd's minimal filtering
//   conv3x3_winograd_weights.cpp   backward_weights by the same
#include "cpu/conv3x3.h"

#include "cpu/simd.h"
#include "ops/relu.h"

namespace unet::cpu::UNET_ISA {
namespace {

// Below this many channels on either side the transforms cost more than they save.
constexpr int kMinWinogradChannels = 16;

bool use_winograd(Algorithm algorithm, int IC, int OC) {
  if (algorithm != Algorithm::kAuto) return algorithm != Algorithm::kDirect;
  return min(IC, OC) >= kMinWinogradChannels;
}

}  // namespace

void conv3x3_forward(const Context& ctx, const ConcatView& bottom, ConstFilter weight,
                     ConstSpan bias, FusedRelu relu, Algorithm algorithm, Span workspace,
                     View top) {
  if (use_winograd(algorithm, weight.ic, weight.oc)) {
    return winograd::forward(ctx, bottom, weight, bias, relu, algorithm, workspace.data, top);
  }
  direct::forward(ctx, bottom, weight, bias, relu, workspace.data, top);
}

void conv3x3_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                           const ReluOfBottom& relu, Algorithm algorithm, Span workspace,
                           View bottom_diff) {
  if (use_winograd(algorithm, weight.ic, weight.oc)) {
    return winograd::backward_data(ctx, top_diff, weight, relu, algorithm, workspace.data,
                                   bottom_diff);
  }
  direct::backward_data(ctx, top_diff, weight, workspace.data, bottom_diff);
  if (relu.on()) {
    UNET_ISA::relu_backward(ctx, relu.bottom, bottom_diff, relu.negative_slope, bottom_diff);
  }
}

void conv3x3_backward_weights(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                              Algorithm algorithm, bool accumulate, Span workspace,
                              Filter weight_diff, Span bias_diff) {
  if (use_winograd(algorithm, weight_diff.ic, weight_diff.oc)) {
    return winograd::backward_weights(ctx, bottom, top_diff, algorithm, accumulate, workspace.data,
                                      weight_diff, bias_diff);
  }
  direct::backward_weights(ctx, bottom, top_diff, accumulate, workspace.data, weight_diff,
                           bias_diff);
}

std::ptrdiff_t conv3x3_workspace(const Context& ctx, const Conv3x3Shape& shape, Pass pass,
                                 Algorithm algorithm) {
  return use_winograd(algorithm, shape.ic, shape.oc)
             ? winograd::workspace(ctx, shape, pass, algorithm)
             : direct::workspace(ctx, shape, pass);
}

}  // namespace unet::cpu::UNET_ISA
