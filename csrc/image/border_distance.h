// Euclidean distances of background pixels to the nearest and the second nearest instance: d1 and
// d2 of the paper's weight map (section 3), only as far as they matter.
//
//   instances (H, W)  0 = background, any other value = one instance each
//   d1        (H, W)  0 on instances; on background the distance to the nearest instance
//   d2        (H, W)  +inf on instances; on background the distance to the nearest pixel of any
//                     instance but that one
//
// A distance that cannot matter is +inf: d2 where d1 + d2 > max_sum, and then also d1 where
// d1 > max_nearest. Everything else is exact (integer arithmetic on squares, one square root).
//
// Method    Per column, the two nearest distinct instances above and below suffice: an instance
//           that is third in a column is third at best for each pixel that looks at this column.
//           Per pixel, columns are visited from near to far until no farther one can matter.
// Cost      O(H * W * max(max_sum / 2, max_nearest)) however many instances there are; scratch is
//           a few rows per thread.
#pragma once

#include <cstdint>

#include "image/plane.h"

namespace unet {

// Throws std::invalid_argument if the shapes differ or a limit is negative or not a number.
void border_distances(int threads, Plane<const std::int32_t> instances, float max_sum,
                      float max_nearest, Plane<float> d1, Plane<float> d2);

}  // namespace unet
