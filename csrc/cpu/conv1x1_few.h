// conv1x1 to fewer output channels than a vector holds, as the last layer of a segmenting network.
#pragma once

#include "ops/conv1x1.h"

namespace unet::cpu::UNET_ISA::few {

void forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
             FusedRelu relu, float* workspace, View top);
void backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                   const ReluOfBottom& relu, float* workspace, View bottom_diff);
void backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff, bool accumulate,
                      float* workspace, Filter weight_diff);
std::ptrdiff_t workspace(const Conv1x1Shape& shape, Pass pass);

}  // namespace unet::cpu::UNET_ISA::few
