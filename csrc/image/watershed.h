// From foreground to objects: how far each pixel lies inside, which parts only a neck joins, and
// the gaps that training has opened between objects.
//
// inner_distances: distance (H, W) = the Euclidean distance of each foreground pixel to the nearest
// background pixel, 0 on background; mask (H, W) 0 = background. What lies outside the image is
// neither; without any background H + W everywhere. Exact: integer arithmetic, one square root.
// Meijster et al. 2000; O(H * W).
//
// watershed: labels (H, W) = 1, 2, .. on the pixels of height > 0, 0 elsewhere (NaN is not > 0);
// objects are 4-connected and numbered in the order in which a scan row by row meets them.
//   height (H, W)  each object is grown from a peak
//   depth > 0      two peaks are two objects if the pass between them lies at least this much lower
//                  than the lower one (else they are one: the h-maxima of the height)
// Seeds are the pixels less than `depth` below the peak of their object. They grow over their
// neighbours, the highest first, of equal ones the first in the queue, which is seeded row by row.
// Every pixel gets a number: objects share a border, no line is left between them. O(H * W).
//
// close_gaps: a background pixel goes to the largest (of equal ones the first) of the objects among
// its eight neighbours, if they are two or more. All pixels are judged by the labels as they were.
#pragma once

#include <cstdint>

#include "image/plane.h"

namespace unet {

// All throw std::invalid_argument if shapes differ.
void inner_distances(int threads, Plane<const std::uint8_t> mask, Plane<float> distance);

// Returns the number of objects. Throws std::invalid_argument if depth is not positive, and for
// 2^31 pixels or more.
int watershed(Plane<const float> height, float depth, Plane<std::int32_t> labels);

// Throws std::invalid_argument for a negative label.
void close_gaps(Plane<std::int32_t> labels);

}  // namespace unet
