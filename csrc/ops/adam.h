// One step of Adam, in Caffe's form.
//
//   g        = scale * diff + weight_decay * weight       (L1: + weight_decay * sign(weight))
//   history  = momentum * history + (1 - momentum) * g
//   history2 = momentum2 * history2 + (1 - momentum2) * g^2
//   update   = rate * history / (sqrt(history2) + delta)
//   weight  -= update
//   diff     = update, if `keep_update`, as Caffe leaves it
//
// `rate` comes with the correction of the histories' start from 0 in it: for the t-th step, from 1,
// sqrt(1 - momentum2^t) / (1 - momentum^t). delta stands outside of the root and is not corrected,
// unlike in the paper's first form.
//
// Shapes    weight, diff, history, history2 dense, of one size
// In place  weight and the histories, diff if `keep_update`; else diff is only read
// Source    Caffe adam_solver.cpp; Kingma and Ba, arXiv 1412.6980, section 2
#pragma once

#include "core/dispatch.h"
#include "ops/regularization.h"

namespace unet {

struct AdamStep {
  float rate = 0, momentum = 0, momentum2 = 0, delta = 0, weight_decay = 0, scale = 1;
  Regularization regularization = Regularization::kL2;
  bool keep_update = false;
  // Null, or a number on the device of the call that multiplies `rate`: a graph that is replayed
  // reads it anew each time.
  const float* rate_factor = nullptr;
};

UNET_OP(adam_update,
        void(const Context&, AdamStep step, Span weight, Span diff, Span history, Span history2));

}  // namespace unet
