// conv3x3 with few input channels (the first layer) on a GPU: direct sums, no matrix product.
#pragma once

#include "cuda/language.h"
#include "ops/conv3x3.h"

namespace unet::UNET_GPU::conv3x3_few {

// Whether forward and backward_weights of a layer are for these kernels.
inline bool takes(int IC) { return IC <= 4; }

void forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
             FusedRelu relu, View top);
// With the bias.
void backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff, bool accumulate,
                      float* partial, Filter weight_diff, Span bias_diff);
// Floats that `partial` must have.
std::ptrdiff_t workspace(const Conv3x3Shape& shape);

}  // namespace unet::UNET_GPU::conv3x3_few
