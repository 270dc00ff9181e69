// Dropout with Caffe's scaling and masks that can be drawn again.
//
//   mask[i]     = 1 with probability 1 - ratio, else 0
//   top         = bottom * mask / (1 - ratio)
//   bottom_diff = top_diff * mask / (1 - ratio)
//
// Element i, counted in channels-last order ((n*H + h)*W + w)*C + c, is kept if word i%4 of
// philox4x32(counter {i/4, layer, iteration low, iteration high}, key seed) >= ratio * 2^32.
//
// Shapes    bottom, mask, top, top_diff, bottom_diff (N,C,H,W); the mask is drawn dense
// Ranges    0 <= ratio < 1
// Writes    all outputs with =
// In place  top may be bottom, bottom_diff may be top_diff
// Source    Caffe dropout_layer.cpp
#pragma once

#include "core/dispatch.h"

namespace unet {

using MaskSpan = BasicSpan<std::uint8_t>;

// Which mask: one per layer and iteration of a training run.
struct MaskKey {
  std::uint64_t seed = 0, iteration = 0;
  std::uint32_t layer = 0;
  // Null, or a number on the device of the call that is added to `iteration`: a graph that is
  // replayed reads it anew each time.
  const std::uint64_t* further = nullptr;
};

UNET_OP(dropout_mask, void(const Context&, float ratio, MaskKey key, MaskSpan mask));
UNET_OP(dropout_forward,
        void(const Context&, ConstView bottom, ConstMaskView mask, float ratio, View top));
UNET_OP(dropout_backward, void(const Context&, ConstView top_diff, ConstMaskView mask, float ratio,
                               View bottom_diff));

}  // namespace unet
