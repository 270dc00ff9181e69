// conv1x1 with few output channels on a GPU: dot products over the channels of a pixel.
#pragma once

#include "cuda/language.h"
#include "ops/conv1x1.h"

namespace unet::UNET_GPU::conv1x1_few {

// Whether a layer is for these kernels: up to 16 outputs, of which a block can keep the filter.
bool takes(int IC, int OC);

void forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
             FusedRelu relu, View top);
void backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight, View bottom_diff);
// Without the bias.
void backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff, bool accumulate,
                      float* partial, Filter weight_diff);
// Floats that `partial` must have.
std::ptrdiff_t workspace(const Conv1x1Shape& shape);

}  // namespace unet::UNET_GPU::conv1x1_few
