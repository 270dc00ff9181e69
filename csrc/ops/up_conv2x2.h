// 2x2 up-convolution with stride 2 (Caffe's Deconvolution): each bottom pixel becomes a 2x2 square.
//
//   top[n,oc,2h+kh,2w+kw] = relu(bias[oc] + sum_ic weight[ic,oc,kh,kw] * bottom[n,ic,h,w])
//   bottom_diff[n,ic,h,w] = sum_{oc,kh,kw} weight[ic,oc,kh,kw] * top_diff[n,oc,2h+kh,2w+kw]
//   weight_diff[ic,oc,kh,kw] (+)= sum_{n,h,w} bottom[n,ic,h,w] * top_diff[n,oc,2h+kh,2w+kw]
//   bias_diff[oc]            (+)= sum_{n,h,w} top_diff[n,oc,h,w]
//
// Shapes    bottom (N,IC,H,W)  weight (IC,OC,2,2) in memory [2][2][IC][OC]  bias (OC)
//           top (N,OC,2H,2W), often one half of a concat buffer; bias and bias_diff may be null
// Writes    top and bottom_diff with =, weight_diff and bias_diff with += if `accumulate`, else =
// In place  never
// Source    Caffe deconv_layer.cpp
#pragma once

#include "core/activation.h"
#include "core/dispatch.h"
#include "core/pass.h"

namespace unet {

struct UpConv2x2Shape {
  int n, ic, h, w, oc;  // of the bottom, and the top's channels
};

UNET_OP(up_conv2x2_forward, void(const Context&, ConstView bottom, ConstFilter weight,
                                 ConstSpan bias, FusedRelu relu, Span workspace, View top));
UNET_OP(up_conv2x2_backward_data, void(const Context&, ConstView top_diff, ConstFilter weight,
                                       Span workspace, View bottom_diff));
UNET_OP(up_conv2x2_backward_weights,
        void(const Context&, ConstView bottom, ConstView top_diff, bool accumulate, Span workspace,
             Filter weight_diff, Span bias_diff));

// Floats of workspace that a pass needs on this context.
UNET_OP(up_conv2x2_workspace,
        std::ptrdiff_t(const Context&, const UpConv2x2Shape& shape, Pass pass));

}  // namespace unet
