// The products of conv3x3 on tensor cores, for ctx.math tf32 and bf16 (conv3x3_tensor.cu), by the
// plans of conv3x3_plan.h.
#pragma once

#include "core/activation.h"
#include "core/context.h"
#include "core/view.h"
#include "cuda/tile_plan.h"

namespace unet::UNET_GPU {

// `to`: the result, or with several splits the partial sums of the first; those of the others
// follow it.
void convolve_on_tensor_cores(const Context& ctx, const TilePlan& plan, bool is_backward,
                              ConstView from, ConstFilter weight, ConstSpan bias, FusedRelu relu,
                              View to);

// Into partial[split][tap][IC][OC].
void correlate_on_tensor_cores(const Context& ctx, const TilePlan& plan, ConstView bottom,
                               ConstView top_diff, float* partial);

}  // namespace unet::UNET_GPU
