// The two algorithms behind ops/conv3x3.h on the CPU.
#pragma once

#include "ops/conv3x3.h"

namespace unet::cpu::UNET_ISA {

namespace direct {

void forward(const Context& ctx, const ConcatView& bottom, ConstFilter weight, ConstSpan bias,
             FusedRelu relu, float* workspace, View top);
void backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight, float* workspace,
                   View bottom_diff);
void backward_weights(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                      bool accumulate, float* workspace, Filter weight_diff, Span bias_diff);
std::ptrdiff_t workspace(const Context& ctx, const Conv3x3Shape& shape, Pass pass);

}  // namespace direct

namespace winograd {  // in the tiles of the algorithm, or in those that are faster

void forward(const Context& ctx, const ConcatView& bottom, ConstFilter weight, ConstSpan bias,
             FusedRelu relu, Algorithm algorithm, float* workspace, View top);
void backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                   const ReluOfBottom& relu, Algorithm algorithm, float* workspace,
                   View bottom_diff);
void backward_weights(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                      Algorithm algorithm, bool accumulate, float* workspace, Filter weight_diff,
                      Span bias_diff);
std::ptrdiff_t workspace(const Context& ctx, const Conv3x3Shape& shape, Pass pass,
                         Algorithm algorithm);
std::ptrdiff_t backward_weights_workspace(const Context& ctx, const Conv3x3Shape& shape,
                                          Algorithm algorithm);

}  // namespace winograd

}  // namespace unet::cpu::UNET_ISA
