// Softmax and cross-entropy in one pass, weighted per pixel: the loss and its gradient.
//
//   p    = softmax of the score over the channels;  l = label;  nll = -log p[l]
//   loss = 1/Z sum_x w(x) * nll(x)                       over the pixels that are not ignored
//   diff = loss_weight/Z * w(x) * (p - onehot(l))        0 at ignored pixels
//
// Without `weight`, w = 1 and nll is at most -log(FLT_MIN) = 87.34, as in Caffe (its gradient is
// not clamped); with it, nll is not clamped. A score that is NaN makes the loss NaN.
//
//   Normalization   Z
//   kFull           N*H*W
//   kValid          the number of pixels not ignored      (Caffe's default)
//   kBatchSize      N
//   kNone           1                                     all of these max(1, Z)
//   kWeightSum      the sum of w over pixels not ignored; if that is 0, loss and diff are 0
//
// The loss is returned and, where `loss` is given, left there. A device is waited for only with
// `setting.wait`. Without, it returns 0, takes a pixel with a bad label as ignored and makes `loss`
// NaN; the same call with `wait` tells which label it was.
//
// Fused because the gradient of the pair is p - onehot, with nothing to divide by a small p, and
// because p need not be stored.
//
// Shapes    score, bottom_diff, prob (N,C,H,W); label, weight (N,1,H,W); loss, loss_diff one float,
//           or null: loss_diff multiplies loss_weight
// Ranges    labels are whole numbers in [0, C) or `ignore_label`; weights as they come
// Writes    bottom_diff and prob with =, each only if its data is not null
// In place  bottom_diff or prob may be score
// Sums      with weights in double precision, by rows, then over the rows in order; without, as
//           Caffe does: float32, pixel after pixel, so that its logs are reproduced to the digit
//           (over 388x388 pixels that errs by about 1e-5, and concerns only the loss that is
//           shown). On a GPU, where Caffe leaves the order to cuBLAS, both in double precision, by
//           blocks
// Source    Caffe softmax_loss_layer.cpp; Ronneberger et al. 2015, section 3 (which omits the
//           minus); the 2019 fork's third bottom for w
#pragma once

#include "core/dispatch.h"

namespace unet {

enum class Normalization { kFull, kValid, kBatchSize, kNone, kWeightSum };

struct SoftmaxLossSetting {
  Normalization normalization = Normalization::kValid;
  bool has_ignore_label = false;
  int ignore_label = 0;
  float loss_weight = 1;
  bool wait = true;
};

struct SoftmaxLoss {
  double loss = 0;
  std::ptrdiff_t bad_label = -1;  // first pixel, (n*H + h)*W + w, whose label is none, or -1
  float bad_value = 0;            // what stands there
};

UNET_OP(softmax_loss, SoftmaxLoss(const Context&, SoftmaxLossSetting setting, ConstView score,
                                  ConstView label, ConstView weight, ConstSpan loss_diff,
                                  Span workspace, Span loss, View bottom_diff, View prob));

// Floats of workspace that softmax_loss needs on this context for N images of H rows of W pixels.
UNET_OP(softmax_loss_workspace, std::ptrdiff_t(const Context&, int N, int H, int W));

// --- what labels and normalizations mean, for every twin (static as in core/philox.h) ---

UNET_HOST_DEVICE static inline bool is_ignored(const SoftmaxLossSetting& setting, float label) {
  return setting.has_ignore_label && label == static_cast<float>(setting.ignore_label);
}

UNET_HOST_DEVICE static inline bool is_class(float label, int classes) {
  return label >= 0.0f && label < static_cast<float>(classes) &&
         label == static_cast<float>(static_cast<int>(label));
}

// Z for N images; over `pixels` pixels, of which `valid` with weights of `weight` are not ignored.
UNET_HOST_DEVICE static inline double normalizer(Normalization normalization, int N, double pixels,
                                                 double valid, double weight) {
  double z = 1;
  switch (normalization) {
    case Normalization::kFull:
      z = pixels;
      break;
    case Normalization::kValid:
      z = valid;
      break;
    case Normalization::kBatchSize:
      z = N;
      break;
    case Normalization::kNone:
      break;
    case Normalization::kWeightSum:
      return weight;
  }
  return z > 1 ? z : 1;
}

}  // namespace unet
