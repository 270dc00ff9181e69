// What conv3x3, conv1x1 and up_conv2x2 are on a GPU: products of matrices over pixels. No matrix of
// windows is ever written.
//
//               rows              columns       common dimension     A                   B
//   convolve    pixels of `from`  channels      taps x channels      `from`, moved by    weight, or
//               or of the result  of a result   of `from`            a tap               transposed
//   correlate   taps x IC         OC            pixels               bottom, moved by    top_diff
//                                                                    a tap
//
// Two blobs of an up-convolution differ in size: a pixel (h, w) of the small one meets the 2 x 2 of
// the large one that begin at (2h, 2w). Where the large one is A, these are taps, and a row's pixel
// is every second one; where it is the result, or B of correlate, they are parts: products of their
// own over the same A, each with a tap of the weights, in one launch.
//
//                                   A            taps   way                  parts
//   conv3x3     forward             bottom       3 x 3  forwards             1
//               backward_data       top_diff     3 x 3  backwards, 0 outside 1
//               backward_weights    bottom       3 x 3  forwards             1
//   conv1x1     all                              1                           1
//   up_conv2x2  forward             bottom       1                           2 x 2 of top
//               backward_data       top_diff     2 x 2  forwards             1
//               backward_weights    bottom       1                           2 x 2 of top_diff
//
// ctx.math says whether the products are exact in float32 (convolution.cu) or on tensor cores
// (convolution_tensor.cu). Where tiles are too few for the device the common dimension is split
// (convolution_plan.h): splits leave their sums in the workspace, and a second kernel adds these in
// their order.
//
// Cost: 2*taps*parts*IC*OC operations a row.
#pragma once

#include "core/activation.h"
#include "core/context.h"
#include "core/view.h"
#include "cuda/tile_plan.h"

namespace unet::UNET_GPU {

// side x side pixels of a blob that meet one row.
struct Taps {
  int side = 1;
  std::ptrdiff_t row = 0, pixel = 0;  // from one to the next; negative: backwards
  bool may_leave = false;             // the blob, where there are zeros; of 3 x 3 backwards only
};

struct Convolution {
  const char* name = "";
  bool is_backward = false;  // the weights are transposed
  ConstView from;            // by rows: pixel (h, w) is that of the first tap of row (h, w)
  Taps taps;
  ConstFilter weight;
  View to;        // the result
  int scale = 1;  // scale x scale parts, pixels of `to` for each row
  ConstSpan bias;
  FusedRelu relu;
};

// How large a convolution or correlation is.
struct ConvolutionSize {
  std::ptrdiff_t pixels;  // of all images: rows, or the common dimension
  int from, to;           // channels: of A and of the result, or IC and OC
  int taps = 1, parts = 1;
};

void convolve(const Context& ctx, const Convolution& convolution, Splitting splitting,
              Span workspace);
// Floats that its workspace must have.
std::ptrdiff_t convolve_workspace(const Context& ctx, const ConvolutionSize& size,
                                  Splitting splitting);

struct Correlation {
  const char* name;
  ConstView bottom;
  Taps taps;  // of bottom
  ConstView top_diff;
  int scale = 1;  // scale x scale parts, pixels of top_diff for each of bottom
};

// weight_diff (+)= the sums, tap after tap or part after part.
void correlate(const Context& ctx, const Correlation& correlation, bool accumulate, Span workspace,
               Filter weight_diff);
std::ptrdiff_t correlate_workspace(const Context& ctx, const ConvolutionSize& size);

// Each scale-th pixel of a blob's rows and columns, from the first on.
template <class T>
BasicView<T> each_of(const BasicView<T>& blob, int scale) {
  return {blob.data,
          blob.n,
          blob.c,
          blob.h / scale,
          blob.w / scale,
          blob.image_stride,
          scale * blob.row_stride,
          scale * blob.pixel_stride};
}

}  // namespace unet::UNET_GPU
