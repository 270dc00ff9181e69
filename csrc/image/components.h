// Connected components of a binary image.
//
//   mask   (H, W)  0 = background, anything else = foreground
//   labels (H, W)  0 on background, 1, 2, .. on the components, numbered in the order in which a
//                  scan row by row meets them
//
// Returns their number. O(H * W).
#pragma once

#include <cstdint>

#include "image/plane.h"

namespace unet {

// Which pixels around a foreground pixel belong to its component: 4 share an edge, 8 a corner too.
enum class Neighbours { k4, k8 };

// Throws std::invalid_argument if the shapes differ.
int label_components(Plane<const std::uint8_t> mask, Neighbours neighbours,
                     Plane<std::int32_t> labels);

}  // namespace unet
