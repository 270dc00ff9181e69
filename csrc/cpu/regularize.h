// The gradient of a parameter as the solvers use it: scaled and regularized.
#pragma once

#include "cpu/simd.h"
#include "ops/regularization.h"

namespace unet::cpu::UNET_ISA {
namespace {

[[gnu::always_inline]] inline vfloat sign(vfloat x) {
  const vfloat one = splat(1.0f);
  return (x > 0.0f ? one : vfloat{}) - (x < 0.0f ? one : vfloat{});
}

// scale * diff + weight_decay * weight        (L1: + weight_decay * sign(weight))
template <class Step>
[[gnu::always_inline]] inline vfloat regularized(const Step& step, vfloat diff, vfloat weight) {
  const vfloat decayed = step.regularization == Regularization::kL2 ? weight : sign(weight);
  return step.scale * diff + step.weight_decay * decayed;
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA
