#include "ops/softmax_loss.h"

namespace unet {
namespace {

void check_plane(const char* name, ConstView plane, ConstView score) {
  if (plane.n == score.n && plane.c == 1 && plane.h == score.h && plane.w == score.w) return;
  fail("softmax_loss", std::string(name) + " must be " +
                           shape_string(score.n, 1, score.h, score.w) + " (score " +
                           shape_string(score) + ", " + name + " " + shape_string(plane) + ")");
}

[[noreturn]] void fail_label(const SoftmaxLossSetting& setting, ConstView score,
                             const SoftmaxLoss& result) {
  const std::ptrdiff_t pixel = result.bad_label;
  const int w = static_cast<int>(pixel % score.w);
  const int h = static_cast<int>(pixel / score.w % score.h);
  const int n = static_cast<int>(pixel / score.w / score.h);
  std::string expected = "a whole number from 0 to " + std::to_string(score.c - 1);
  if (setting.has_ignore_label) {
    expected += " or ignore_label " + std::to_string(setting.ignore_label);
  }
  fail("softmax_loss", "label[" + std::to_string(n) + ", 0, " + std::to_string(h) + ", " +
                           std::to_string(w) + "] is " + std::to_string(result.bad_value) +
                           ", expected " + expected);
}

}  // namespace

SoftmaxLoss softmax_loss(const Context& ctx, SoftmaxLossSetting setting, ConstView score,
                         ConstView label, ConstView weight, ConstSpan loss_diff, Span workspace,
                         Span loss, View bottom_diff, View prob) {
  check_plane("label", label, score);
  if (weight.data) check_plane("weight", weight, score);
  if (bottom_diff.data) {
    check_same_shape("softmax_loss", "bottom_diff", bottom_diff, "score", score);
  }
  if (prob.data) check_same_shape("softmax_loss", "prob", prob, "score", score);
  if ((loss.data && loss.size != 1) || (loss_diff.data && loss_diff.size != 1)) {
    fail("softmax_loss", "loss and loss_diff are one number each");
  }
  const std::ptrdiff_t needed = softmax_loss_workspace(ctx, score.n, score.h, score.w);
  if (workspace.size < needed) {
    fail("softmax_loss", "workspace has " + std::to_string(workspace.size) + " floats, needs " +
                             std::to_string(needed));
  }
  const bool on_host = ctx.device == Device::kCpu;
  if (on_host && loss_diff.data) setting.loss_weight *= *loss_diff.data;
  const SoftmaxLoss result = dispatch(UNET_TWINS(softmax_loss), ctx, setting, score, label, weight,
                                      loss_diff, workspace, loss, bottom_diff, prob);
  if (result.bad_label >= 0) fail_label(setting, score, result);
  if (on_host && loss.data) *loss.data = static_cast<float>(result.loss);
  return result;
}

std::ptrdiff_t softmax_loss_workspace(const Context& ctx, int N, int H, int W) {
  return dispatch(UNET_TWINS(softmax_loss_workspace), ctx, N, H, W);
}

}  // namespace unet
