// Deforming images: where each pixel of a tile lies in its source image, and what is found there.
//
// Outside the image lies its mirror image: reflection without repeating the edge pixel (position
// -1 holds pixel 1, H holds pixel H - 2), repeated as often as needed; a side of length 1 is
// constant. Coordinates are (row, column), pixel centres at integers.
#pragma once

#include <cstdint>

#include "image/plane.h"

namespace unet {

// One axis of a separable interpolation between nodes: output position i is the sum over k of
// weight[4 * i + k] * node[index[4 * i + k]].
struct Taps {
  const std::int32_t* index = nullptr;
  const float* weight = nullptr;
  int size = 0;   // positions
  int nodes = 0;  // nodes that index may name
};

// source = matrix * (position + displacement - centre) + offset
struct Affine {
  double matrix[4];  // row-major 2x2
  double centre[2];
  double offset[2];
};

// coordinates [H][W][2], H = rows.size, W = columns.size: the source of each tile position.
// displacement [rows.nodes][columns.nodes][2] holds the displacement at the nodes, in pixels.
void deformed_coordinates(int threads, const float* displacement, Taps rows, Taps columns,
                          const Affine& affine, float* coordinates);

// out [count][image.c] = image [H][W][C] at coordinates [count][2]: bilinear, or bicubic by
// convolution (Keys 1981, a = -1/2), which keeps the noise of an image where bilinear blurs it.
void sample_linear(int threads, Plane<const float> image, const float* coordinates,
                   std::ptrdiff_t count, float* out);
void sample_cubic(int threads, Plane<const float> image, const float* coordinates,
                  std::ptrdiff_t count, float* out);

// out [count] = the pixel of image [H][W] nearest to each coordinate.
template <class T>
void sample_nearest(int threads, Plane<const T> image, const float* coordinates,
                    std::ptrdiff_t count, T* out);

extern template void sample_nearest(int, Plane<const std::uint8_t>, const float*, std::ptrdiff_t,
                                    std::uint8_t*);
extern template void sample_nearest(int, Plane<const std::int32_t>, const float*, std::ptrdiff_t,
                                    std::int32_t*);

// values [count][C], in place: channel c passes through a curve given by `knots` values curve[c][k]
// at low[c] + k * (high[c] - low[c]) / (knots - 1), linear between them and, beyond either end,
// continued with the slope of the last piece.
void apply_curves(int threads, float* values, std::ptrdiff_t count, int channels,
                  const float* curve, int knots, const float* low, const float* high);

}  // namespace unet
