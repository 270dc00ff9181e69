// What the solvers share: a parameter's gradient, scaled and regularized, and the rate.
#pragma once

#include "cuda/language.h"
#include "ops/regularization.h"

namespace unet::UNET_GPU {
namespace {

// scale * diff + weight_decay * weight        (L1: + weight_decay * sign(weight))
template <class Step>
__device__ __forceinline__ float regularized(const Step& step, float diff, float weight) {
  const float sign = float(weight > 0.0f) - float(weight < 0.0f);
  const float decayed = step.regularization == Regularization::kL2 ? weight : sign;
  return step.scale * diff + step.weight_decay * decayed;
}

template <class Step>
__device__ __forceinline__ float rate_of(const Step& step) {
  return step.rate_factor != nullptr ? step.rate * *step.rate_factor : step.rate;
}

}  // namespace
}  // namespace unet::UNET_GPU
