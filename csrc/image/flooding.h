// Thinning of borders by flooding: each object grows over the background until one-pixel lines are
// all that separates it from the others. It is the watershed of a two-valued image.
//
//   interior (H, W)  0 = border, anything else = inside an object
//   basins   (H, W)  0 on the lines, 1, 2, .. on the grown 4-connected components of `interior`,
//                    numbered in the order in which a scan column by column meets them
//
// The order decides where a line lies to the pixel, so it is fixed, as the ISBI 2012 challenge has
// it: breadth first; the queue is seeded column by column with the border pixels beside an object;
// a pixel taken from the queue gets the number of the basins beside it, or 0 if they are two or
// more or it lies behind lines only, and then sends its neighbours left, up, right and down.
// An image without any interior becomes one basin.
//
// Returns the number of basins. O(H * W).
#pragma once

#include <cstdint>

#include "image/plane.h"

namespace unet {

// Throws std::invalid_argument if the shapes differ.
int flood_basins(Plane<const std::uint8_t> interior, Plane<std::int32_t> basins);

}  // namespace unet
