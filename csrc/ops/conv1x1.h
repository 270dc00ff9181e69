// 1x1 convolution: one matrix for all pixels.
//
//   top[n,oc,h,w]         = relu(bias[oc] + sum_ic weight[oc,ic] * bottom[n,ic,h,w])
//   bottom_diff[n,ic,h,w] = sum_oc weight[oc,ic] * top_diff[n,oc,h,w]
//   weight_diff[oc,ic] (+)= sum_{n,h,w} top_diff[n,oc,h,w] * bottom[n,ic,h,w]
//   bias_diff[oc]      (+)= sum_{n,h,w} top_diff[n,oc,h,w]
//
// Shapes    bottom (N,IC,H,W)  weight (OC,IC,1,1)  bias (OC)  top (N,OC,H,W)
//           bias and bias_diff may be null
// ReLU      backward_data also does that of a ReLU in place that made the bottom, if relu.on():
//           bottom_diff *= (1 where relu.bottom > 0, relu.negative_slope elsewhere)
// Writes    top and bottom_diff with =, weight_diff and bias_diff with += if `accumulate`, else =
// In place  never
// Source    Caffe conv_layer.cpp
#pragma once

#include "core/activation.h"
#include "core/dispatch.h"
#include "core/pass.h"

namespace unet {

struct Conv1x1Shape {
  int n, ic, h, w, oc;
};

UNET_OP(conv1x1_forward, void(const Context&, ConstView bottom, ConstFilter weight, ConstSpan bias,
                              FusedRelu relu, Span workspace, View top));
UNET_OP(conv1x1_backward_data, void(const Context&, ConstView top_diff, ConstFilter weight,
                                    const ReluOfBottom& relu, Span workspace, View bottom_diff));
UNET_OP(conv1x1_backward_weights,
        void(const Context&, ConstView bottom, ConstView top_diff, bool accumulate, Span workspace,
             Filter weight_diff, Span bias_diff));

// Floats of workspace that a pass needs on this context.
UNET_OP(conv1x1_workspace, std::ptrdiff_t(const Context&, const Conv1x1Shape& shape, Pass pass));

}  // namespace unet
