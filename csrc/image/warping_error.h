// The warping error (Jain et al. 2010, doi 10.1109/CVPR.2010.5539950): a label is deformed towards
// a proposal without changing its topology; what then still differs is an error of topology.
//
//   proposal (H, W)  probability of interior; interior is where it exceeds `threshold`
//   warped   (H, W)  0 = border, 1 = interior; foreground is 4-connected, background 8-connected,
//                    and background lies around the image
#pragma once

#include <cstdint>

#include "image/plane.h"

namespace unet {

// Flips pixels of `warped`, which holds the label, where they differ from the proposal and are
// simple points, the strongest disagreement |proposal - threshold| first (ties: column by column),
// in passes until the number of differing pixels stays. Returns that number.
// Throws std::invalid_argument if the shapes differ.
std::int64_t warp_label(Plane<const float> proposal, double threshold, Plane<std::uint8_t> warped);

// What becoming like the proposal would do to the warped label, one pixel at a time.
enum Mismatch : std::uint8_t {
  kNone = 0,
  kSplit = 1,           // interior lost, at least two objects around it remain
  kMerger = 2,          // interior gained that joins at least two objects
  kHoleAddition = 3,    // one object around it either way
  kHoleDeletion = 4,    // the last pixel of a hole filled
  kObjectAddition = 5,  // interior gained with no object around it
  kObjectDeletion = 6,  // the last pixel of an object lost
};

// mismatches (H, W): the kind of each differing pixel. Objects are told apart by what connects
// them, without the pixel itself, within `radius` rows and columns of it; 0 = in the whole image.
// Throws std::invalid_argument if the shapes differ or the radius is negative.
void classify_mismatches(Plane<const std::uint8_t> warped, Plane<const float> proposal,
                         double threshold, int radius, Plane<std::uint8_t> mismatches);

}  // namespace unet
