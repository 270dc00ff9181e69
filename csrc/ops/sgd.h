// One step of stochastic gradient descent with momentum, in Caffe's order.
//
//   g       = scale * diff + weight_decay * weight        (L1: + weight_decay * sign(weight))
//   history = momentum * history + rate * g
//   weight -= history
//   diff    = history, if `keep_update`, as Caffe leaves it
//
// The rate is inside the history, so a change of rate acts through the momentum only by and by
// (unlike PyTorch's SGD). `scale` is 1/iter_size times what clipping asks for.
//
// Shapes    weight, diff, history dense, of one size
// In place  weight and history, diff if `keep_update`; else diff is only read
// Source    Caffe sgd_solver.cpp: Normalize, Regularize, ComputeUpdateValue, Net::Update
#pragma once

#include "core/dispatch.h"
#include "ops/regularization.h"

namespace unet {

struct SgdStep {
  float rate = 0, momentum = 0, weight_decay = 0, scale = 1;
  Regularization regularization = Regularization::kL2;
  bool keep_update = false;
  // Null, or a number on the device of the call that multiplies `rate`: a graph that is replayed
  // reads it anew each time.
  const float* rate_factor = nullptr;
};

UNET_OP(sgd_update, void(const Context&, SgdStep step, Span weight, Span diff, Span history));

}  // namespace unet
