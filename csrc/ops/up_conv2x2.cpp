#include "ops/up_conv2x2.h"

namespace unet {
namespace {

void check(const char* op, ConstView bottom, const char* bottom_name, ConstFilter weight,
           const char* weight_name, ConstView top, const char* top_name, ConstSpan bias,
           const char* bias_name) {
  const auto refuse = [&](const std::string& why) {
    fail(op, why + " (" + bottom_name + " " + shape_string(bottom) + ", " + weight_name + " " +
                 shape_string(weight.ic, weight.oc, weight.kh, weight.kw) + ", " + top_name + " " +
                 shape_string(top) + ")");
  };
  if (weight.kh != 2 || weight.kw != 2) {
    refuse(std::string(weight_name) + " must be 2x2");
  }
  if (weight.ic != bottom.c) {
    refuse(std::string(weight_name) + " has " + std::to_string(weight.ic) + " input channels, " +
           bottom_name + " has " + std::to_string(bottom.c));
  }
  if (weight.oc != top.c) {
    refuse(std::string(weight_name) + " has " + std::to_string(weight.oc) + " output channels, " +
           top_name + " has " + std::to_string(top.c));
  }
  if (top.n != bottom.n || top.h != 2 * bottom.h || top.w != 2 * bottom.w) {
    refuse(std::string(top_name) + " must be " +
           shape_string(bottom.n, weight.oc, 2 * bottom.h, 2 * bottom.w));
  }
  if (bias.data != nullptr && bias.size != weight.oc) {
    refuse(std::string(bias_name) + " has " + std::to_string(bias.size) + " elements for " +
           std::to_string(weight.oc) + " output channels");
  }
}

void check_workspace(const char* op, const Context& ctx, ConstView bottom, int OC, Pass pass,
                     Span workspace) {
  const std::ptrdiff_t needed =
      up_conv2x2_workspace(ctx, {bottom.n, bottom.c, bottom.h, bottom.w, OC}, pass);
  if (workspace.size < needed) {
    fail(op, "workspace has " + std::to_string(workspace.size) + " floats, needs " +
                 std::to_string(needed));
  }
}

}  // namespace

void up_conv2x2_forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
                        FusedRelu relu, Span workspace, View top) {
  check("up_conv2x2_forward", bottom, "bottom", weight, "weight", top, "top", bias, "bias");
  check_workspace("up_conv2x2_forward", ctx, bottom, weight.oc, Pass::kForward, workspace);
  dispatch(UNET_TWINS(up_conv2x2_forward), ctx, bottom, weight, bias, relu, workspace, top);
}

void up_conv2x2_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                              Span workspace, View bottom_diff) {
  check("up_conv2x2_backward_data", bottom_diff, "bottom_diff", weight, "weight", top_diff,
        "top_diff", {}, "");
  check_workspace("up_conv2x2_backward_data", ctx, bottom_diff, weight.oc, Pass::kBackwardData,
                  workspace);
  dispatch(UNET_TWINS(up_conv2x2_backward_data), ctx, top_diff, weight, workspace, bottom_diff);
}

void up_conv2x2_backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff,
                                 bool accumulate, Span workspace, Filter weight_diff,
                                 Span bias_diff) {
  check("up_conv2x2_backward_weights", bottom, "bottom", weight_diff, "weight_diff", top_diff,
        "top_diff", bias_diff, "bias_diff");
  check_workspace("up_conv2x2_backward_weights", ctx, bottom, weight_diff.oc,
                  Pass::kBackwardWeights, workspace);
  dispatch(UNET_TWINS(up_conv2x2_backward_weights), ctx, bottom, top_diff, accumulate, workspace,
           weight_diff, bias_diff);
}

std::ptrdiff_t up_conv2x2_workspace(const Context& ctx, const UpConv2x2Shape& shape, Pass pass) {
  if (shape.n < 1 || shape.ic < 1 || shape.oc < 1 || shape.h < 1 || shape.w < 1) {
    fail("up_conv2x2_workspace", "every size must be positive, not " +
                                     shape_string(shape.n, shape.ic, shape.h, shape.w) + " to " +
                                     std::to_string(shape.oc) + " channels");
  }
  return dispatch(UNET_TWINS(up_conv2x2_workspace), ctx, shape, pass);
}

}  // namespace unet
