// Cut pixels: those without which their 4-connected component falls into two or more
// (articulation points of the graph of pixels; Hopcroft and Tarjan 1973,
// doi 10.1145/362248.362272).
//
//   mask (H, W)  0 = background, anything else = foreground
//   cut  (H, W)  1 on cut pixels, else 0
//
// O(H * W), however large the components. Throws std::invalid_argument if the shapes differ.
#pragma once

#include <cstdint>

#include "image/plane.h"

namespace unet {

void find_cut_pixels(Plane<const std::uint8_t> mask, Plane<std::uint8_t> cut);

}  // namespace unet
