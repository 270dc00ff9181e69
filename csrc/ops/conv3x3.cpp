#include "ops/conv3x3.h"

#include "ops/relu_of_bottom.h"

namespace unet {
namespace {

std::string arguments(ConstView bottom, const char* bottom_name, ConstFilter weight,
                      const char* weight_name, ConstView top, const char* top_name) {
  return std::string(" (") + bottom_name + " " + shape_string(bottom) + ", " + weight_name + " " +
         shape_string(weight) + ", " + top_name + " " + shape_string(top) + ")";
}

void check(const char* op, ConstView bottom, const char* bottom_name, ConstFilter weight,
           const char* weight_name, ConstView top, const char* top_name, ConstSpan bias,
           const char* bias_name) {
  const auto refuse = [&](const std::string& why) {
    fail(op, why + arguments(bottom, bottom_name, weight, weight_name, top, top_name));
  };
  if (weight.kh != 3 || weight.kw != 3) refuse(std::string(weight_name) + " must be 3x3");
  if (bottom.h < 3 || bottom.w < 3) {
    refuse(std::string(bottom_name) + " must be at least 3x3 pixels");
  }
  if (weight.ic != bottom.c) {
    refuse(std::string(weight_name) + " has " + std::to_string(weight.ic) + " input channels, " +
           bottom_name + " has " + std::to_string(bottom.c));
  }
  if (weight.oc != top.c) {
    refuse(std::string(weight_name) + " has " + std::to_string(weight.oc) + " output channels, " +
           top_name + " has " + std::to_string(top.c));
  }
  if (top.n != bottom.n || top.h != bottom.h - 2 || top.w != bottom.w - 2) {
    refuse(std::string(top_name) + " must be " +
           shape_string(bottom.n, weight.oc, bottom.h - 2, bottom.w - 2));
  }
  if (bias.data != nullptr && bias.size != weight.oc) {
    refuse(std::string(bias_name) + " has " + std::to_string(bias.size) + " elements for " +
           std::to_string(weight.oc) + " output channels");
  }
}

// The shape of the whole bottom.
ConstView check_parts(const char* op, const Context& ctx, const ConcatView& bottom) {
  const ConstView &first = bottom.part[0], &second = bottom.part[1];
  if (bottom.parts > 1) {
    if (ctx.device != Device::kCpu) fail(op, "a device takes its bottom in one piece");
    if (first.n != second.n || first.h != second.h || first.w != second.w) {
      fail(op, "the two parts of bottom must have the same images and pixels (" +
                   shape_string(first) + " and " + shape_string(second) + ")");
    }
  }
  return bottom.shape();
}

void check_workspace(const char* op, const Context& ctx, ConstView bottom, int OC, Pass pass,
                     Algorithm algorithm, Span workspace) {
  const Conv3x3Shape shape{bottom.n, bottom.c, bottom.h, bottom.w, OC};
  const std::ptrdiff_t needed = conv3x3_workspace(ctx, shape, pass, algorithm);
  if (workspace.size < needed) {
    fail(op, "workspace has " + std::to_string(workspace.size) + " floats, needs " +
                 std::to_string(needed));
  }
}

}  // namespace

void conv3x3_forward(const Context& ctx, const ConcatView& bottom, ConstFilter weight,
                     ConstSpan bias, FusedRelu relu, Algorithm algorithm, Span workspace,
                     View top) {
  const ConstView whole = check_parts("conv3x3_forward", ctx, bottom);
  check("conv3x3_forward", whole, "bottom", weight, "weight", top, "top", bias, "bias");
  check_workspace("conv3x3_forward", ctx, whole, weight.oc, Pass::kForward, algorithm, workspace);
  dispatch(UNET_TWINS(conv3x3_forward), ctx, bottom, weight, bias, relu, algorithm, workspace, top);
}

void conv3x3_backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                           const ReluOfBottom& relu, Algorithm algorithm, Span workspace,
                           View bottom_diff) {
  check("conv3x3_backward_data", bottom_diff, "bottom_diff", weight, "weight", top_diff, "top_diff",
        {}, "");
  check_workspace("conv3x3_backward_data", ctx, bottom_diff, weight.oc, Pass::kBackwardData,
                  algorithm, workspace);
  check_relu("conv3x3_backward_data", relu, bottom_diff);
  dispatch(UNET_TWINS(conv3x3_backward_data), ctx, top_diff, weight, relu, algorithm, workspace,
           bottom_diff);
}

void conv3x3_backward_weights(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                              Algorithm algorithm, bool accumulate, Span workspace,
                              Filter weight_diff, Span bias_diff) {
  const ConstView whole = check_parts("conv3x3_backward_weights", ctx, bottom);
  check("conv3x3_backward_weights", whole, "bottom", weight_diff, "weight_diff", top_diff,
        "top_diff", bias_diff, "bias_diff");
  check_workspace("conv3x3_backward_weights", ctx, whole, weight_diff.oc, Pass::kBackwardWeights,
                  algorithm, workspace);
  dispatch(UNET_TWINS(conv3x3_backward_weights), ctx, bottom, top_diff, algorithm, accumulate,
           workspace, weight_diff, bias_diff);
}

std::ptrdiff_t conv3x3_workspace(const Context& ctx, const Conv3x3Shape& shape, Pass pass,
                                 Algorithm algorithm) {
  if (shape.n < 1 || shape.ic < 1 || shape.oc < 1 || shape.ih < 3 || shape.iw < 3) {
    fail("conv3x3_workspace", "a 3x3 convolution needs at least one channel and 3x3 pixels, not " +
                                  shape_string(shape.n, shape.ic, shape.ih, shape.iw));
  }
  return dispatch(UNET_TWINS(conv3x3_workspace), ctx, shape, pass, algorithm);
}

}  // namespace unet
