// Unpadded 3x3 convolution, stride 1.
//
//   top[n,oc,oh,ow]       = relu(bias[oc] + sum_{ic,kh,kw} weight[oc,ic,kh,kw]
//                                                          * bottom[n,ic,oh+kh,ow+kw])
//   bottom_diff[n,ic,h,w] = sum_{oc,kh,kw} weight[oc,ic,kh,kw] * top_diff[n,oc,h-kh,w-kw]
//   weight_diff[oc,ic,kh,kw] (+)= sum_{n,oh,ow} top_diff[n,oc,oh,ow] * bottom[n,ic,oh+kh,ow+kw]
//   bias_diff[oc]            (+)= sum_{n,oh,ow} top_diff[n,oc,oh,ow]
//
// Shapes    bottom (N,IC,IH,IW), on the CPU also in two parts along its channels
//           weight (OC,IC,3,3)  bias (OC)  top (N,OC,OH,OW)
//           OH = IH-2, OW = IW-2; bias and bias_diff may be null
// ReLU      backward_data also does that of a ReLU in place that made the bottom, if relu.on():
//           bottom_diff *= (1 where relu.bottom > 0, relu.negative_slope elsewhere)
// Writes    top and bottom_diff with =, weight_diff and bias_diff with += if `accumulate`, else =
// In place  never
// Source    Caffe conv_layer.cpp (cross-correlation: the kernel is not flipped)
//
// Algorithms. kDirect sums taps and channels in one fixed order per element, so a result depends
// neither on threads nor on where a tile lies in an image. Winograd's minimal filtering in tiles of
// 4x4 pixels, kWinograd4x4, needs a quarter of the multiplications and costs about 1e-5 of the
// largest magnitude in accuracy; in tiles of 6x6, kWinograd6x6, a fifth and 2e-5. Both depend on
// the position within the grid of tiles. kWinograd takes the size that is faster for the shape;
// kAuto does so where there are channels enough for it to pay. All of them give the same bits for
// any number of threads. A GPU has products of matrices alone (cuda/conv3x3.cu), in the arithmetic
// of ctx.math: kDirect keeps its promise there, the others may split the sum of a layer with few
// tiles, by shape and device.
#pragma once

#include "core/activation.h"
#include "core/dispatch.h"
#include "core/pass.h"

namespace unet {

enum class Algorithm { kAuto, kDirect, kWinograd, kWinograd4x4, kWinograd6x6 };

struct Conv3x3Shape {
  int n, ic, ih, iw, oc;
};

UNET_OP(conv3x3_forward,
        void(const Context&, const ConcatView& bottom, ConstFilter weight, ConstSpan bias,
             FusedRelu relu, Algorithm algorithm, Span workspace, View top));
UNET_OP(conv3x3_backward_data,
        void(const Context&, ConstView top_diff, ConstFilter weight, const ReluOfBottom& relu,
             Algorithm algorithm, Span workspace, View bottom_diff));
UNET_OP(conv3x3_backward_weights,
        void(const Context&, const ConcatView& bottom, ConstView top_diff, Algorithm algorithm,
             bool accumulate, Span workspace, Filter weight_diff, Span bias_diff));

// Floats of workspace that a pass needs on this context.
UNET_OP(conv3x3_workspace,
        std::ptrdiff_t(const Context&, const Conv3x3Shape& shape, Pass pass, Algorithm algorithm));

}  // namespace unet
