#include "ops/conv1x1.h"

#include "ops/relu_of_bottom.h"

namespace unet {
namespace {

void check(const char* op, ConstView bottom, const char* bottom_name, ConstFilter weight,
           const char* weight_name, ConstView top, const char* top_name, ConstSpan bias,
           const char* bias_name) {
  const auto refuse = [&](const std::string& why) {
    fail(op, why + " (" + bottom_name + " " + shape_string(bottom) + ", " + weight_name + " " +
                 shape_string(weight) + ", " + top_name + " " + shape_string(top) + ")");
  };
  if (weight.kh != 1 || weight.kw != 1) {
    refuse(std::string(weight_name) + " must be 1x1");
  }
  if (weight.ic != bottom.c) {
    refuse(std::string(weight_name) + " has " + std::to_string(weight.ic) + " input channels, " +
           bottom_name + " has " + std::to_string(bottom.c));
  }
  if (weight.oc != top.c) {
    refuse(std::string(weight_name) + " has " + std::to_string(weight.oc) + " output channels, " +
           top_name + " has " + std::to_string(top.c));
  }
  if (top.n != bottom.n || top.h != bottom.h || top.w != bottom.w) {
    refuse(std::string(top_name) + " must be " +
           shape_string(bottom.n, weight.oc, bottom.h, bottom.w));
  }
  if (bias.data != nullptr && bias.size != weight.oc) {
    refuse(std::string(bias_name) + " has " + std::to_string(bias.size) + " elements for " +
           std::to_string(weight.oc) + " output channels");
  }
}

void check_workspace(const char* op, const Context& ctx, ConstView bottom, int OC, Pass pass,
                     Span workspace) {
  const std::ptrdiff_t needed =
      conv1x1_workspace(ctx, {bottom.n, bottom.c, bottom.h, bottom.w, OC}, pass);
  if (workspace.size < needed) {
    fail(op, "workspace has " + std::to_string(workspace.size) + " floats, needs " +
                 std::to_string(needed));
  }
}

}  // namespace

void conv1x1_forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
                     FusedRelu relu, Span workspace, View top) {
  check("conv1x1_forward", bottom, "bottom", weight, "weight", top, "top", bias, "bias");
  check_workspace("conv1x1_forward", ctx, bottom, weight.oc, Pass::kForward, workspace);
  dispatch(UNET_TWINS(conv1x1_forward), ctx, bottom, weight, bias, relu, workspace, top);
}

void conv1x1_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                           const ReluOfBottom& relu, Span workspace, View bottom_diff) {
  check("conv1x1_backward_data", bottom_diff, "bottom_diff", weight, "weight", top_diff, "top_diff",
        {}, "");
  check_workspace("conv1x1_backward_data", ctx, bottom_diff, weight.oc, Pass::kBackwardData,
                  workspace);
  check_relu("conv1x1_backward_data", relu, bottom_diff);
  dispatch(UNET_TWINS(conv1x1_backward_data), ctx, top_diff, weight, relu, workspace, bottom_diff);
}

void conv1x1_backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff,
                              bool accumulate, Span workspace, Filter weight_diff, Span bias_diff) {
  check("conv1x1_backward_weights", bottom, "bottom", weight_diff, "weight_diff", top_diff,
        "top_diff", bias_diff, "bias_diff");
  check_workspace("conv1x1_backward_weights", ctx, bottom, weight_diff.oc, Pass::kBackwardWeights,
                  workspace);
  dispatch(UNET_TWINS(conv1x1_backward_weights), ctx, bottom, top_diff, accumulate, workspace,
           weight_diff, bias_diff);
}

std::ptrdiff_t conv1x1_workspace(const Context& ctx, const Conv1x1Shape& shape, Pass pass) {
  if (shape.n < 1 || shape.ic < 1 || shape.oc < 1 || shape.h < 1 || shape.w < 1) {
    fail("conv1x1_workspace", "every size must be positive, not " +
                                  shape_string(shape.n, shape.ic, shape.h, shape.w) + " to " +
                                  std::to_string(shape.oc) + " channels");
  }
  return dispatch(UNET_TWINS(conv1x1_workspace), ctx, shape, pass);
}

}  // namespace unet
