// How well two partitions of the same pixels agree: by pairs of pixels (Rand) and by information.
//
//   truth, proposal (H, W)  0 = border, 1, 2, .. = one number per object, none of them negative
//
// `standard` counts unordered pairs of different pixels, the border being one more object.
//
// The others look at the n pixels that are foreground in truth (Arganda-Carreras et al. 2015,
// doi 10.3389/fnana.2015.00142); a border pixel of the proposal among them is an object of its own.
// With p_ij the share of the n pixels in truth's object i and the proposal's object j,
// a_i = sum_j p_ij, b_j = sum_i p_ij over j >= 1, and s = sum_i p_i0:
//
//   A = sum a_i^2,  B = sum b_j^2 + s / n,  AB = sum_{j>=1} p_ij^2 + s / n
//   tp = n^2 AB,  fp = n^2 B - tp,  fn = n^2 A - tp,  tn = n^2 - tp - fp - fn   (ordered pairs)
//
//   H(truth) = -sum a ln a,  H(proposal) = -(sum b ln b - s ln n),
//   H(both)  = -(sum p ln p - s ln n)
//
// Sums run by truth's objects, then the proposal's, in double precision: the figures of the ISBI
// 2012 challenge come out to the last bit. With n = 0 the restricted figures are NaN.
#pragma once

#include <cstdint>

#include "image/plane.h"

namespace unet {

struct PairCounts {
  double tp, tn, fp, fn;
};

struct Entropies {  // in nats
  double truth, proposal, truth_given_proposal, proposal_given_truth;
  double variation;  // of information: the sum of the two conditional entropies
};

struct PartitionScores {
  PairCounts standard;    // whole numbers
  PairCounts restricted;  // to truth's foreground
  Entropies entropies;    // of truth's foreground
};

// Throws std::invalid_argument if the shapes differ or a number is negative.
PartitionScores partition_scores(Plane<const std::int32_t> truth,
                                 Plane<const std::int32_t> proposal);

}  // namespace unet
