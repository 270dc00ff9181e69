// Matrix products over pixels, for the ops whose pixels do not overlap: conv1x1 and up_conv2x2. To
// both, a view of every second pixel of a row is as good as a view of all of them, so that an
// up-convolution is four 1x1 convolutions, one per tap.
#pragma once

#include "core/activation.h"
#include "core/context.h"
#include "core/view.h"

namespace unet::cpu::UNET_ISA::pointwise {

constexpr int kMaxTaps = 4;

// Weights of the taps, each [IC][OC] in memory.
struct Taps {
  const float* weight[kMaxTaps];
  int IC, OC;
  bool transposed;  // multiply by [OC][IC] instead, as backward_data does
};

// dest[o] = relu(bias + sum_t source[t] * weight[o + t]) at every pixel.
//
// There is one source or one dest (or both). All views have the same N, H and W; `bias` may be
// null.
struct Product {
  int sources = 1, dests = 1;
  ConstView source[kMaxTaps];
  View dest[kMaxTaps];
  const float* bias = nullptr;
  FusedRelu relu;
};

void multiply(const Context& ctx, const Product& product, const Taps& taps, float* workspace);

// Floats of workspace for `multiply` with K channels per source and C per dest, on rows of W
// pixels.
std::ptrdiff_t multiply_workspace(const Context& ctx, int sources, int dests, int K, int C, int W);

// weight_diff[t] [IC][OC] (+)= sum over pixels of bottom (IC) times top_diff[t] (OC);
// bias_diff [OC] (+)= sum over taps and pixels of top_diff, if there is one.
void sum_outer_products(const Context& ctx, ConstView bottom, const ConstView* top_diff, int taps,
                        bool accumulate, float* workspace, float* const* weight_diff,
                        Span bias_diff);

// Floats of workspace for `sum_outer_products` over N*H `rows` of W pixels.
std::ptrdiff_t sum_outer_products_workspace(const Context& ctx, int taps, int IC, int OC, int rows,
                                            int W);

}  // namespace unet::cpu::UNET_ISA::pointwise
