// What the products of convolution.h multiply, and where their results go: shared by the exact
// products (convolution.cu) and those on tensor cores (convolution_tensor.cu).
//
// convolve: a row is a pixel, a step some channels of one tap. How far a tap's pixel lies from the
// row's own is the same for all rows: a thread keeps a pointer for each row that it brings, with a
// bit for each tap that exists, and the steps add one number.
//
//   tap   0 1 2     conv3x3 forward reads pixel (h + kh, w + kw) of bottom, which always exists;
//         3 4 5     backward_data (h - kh, w - kw) of top_diff, or 0 outside of it
//         6 7 8
//
// correlate: a row is one (tap, input channel), a step some pixels. Rows of one tap are rounded up
// to whole quads, so that a quad never mixes taps.
#pragma once

#include "cuda/convolution_products.h"

namespace unet::UNET_GPU {
namespace {

// What a block computes.
struct Place {
  int step;                             // the first
  std::ptrdiff_t split, weight, pixel;  // offsets of its split and part, see Blocks
};

// z: blockIdx.z.
__device__ __forceinline__ Place place_of(const Blocks& blocks, int z) {
  const int part = z / blocks.splits, split = z - part * blocks.splits;
  const int h = part / blocks.scale, w = part - h * blocks.scale;
  return {split * blocks.steps, split * blocks.split, part * blocks.weight,
          h * blocks.row + w * blocks.pixel};
}

// --- convolve ---

// The step that comes next: channels from `channel` on, of the tap `tap`.
template <bool kBackward, int kChannels>
struct TapSteps {
  unsigned tap;  // a bit, that of PixelRow::exist
  int kw, channel;
  std::ptrdiff_t shift;  // from a row's pixel to the tap's, and to the channel

  __device__ __forceinline__ static int count(const ConstView& from, const Taps& taps) {
    return taps.side * taps.side * ((from.c + kChannels - 1) / kChannels);
  }

  __device__ __forceinline__ TapSteps(const ConstView& from, const Taps& taps, int step) {
    const int chunks = (from.c + kChannels - 1) / kChannels;
    const int number = step / chunks, kh = number / taps.side;
    tap = 1u << number;
    kw = number - kh * taps.side;
    channel = step % chunks * kChannels;
    shift = kh * taps.row + kw * taps.pixel + channel;
  }

  // Where B begins for step `step`: weight[tap][channel][0], or backward [tap][0][channel].
  __device__ __forceinline__ std::ptrdiff_t weight(const ConstFilter& filter, int step) const {
    const int number = step / (((kBackward ? filter.oc : filter.ic) + kChannels - 1) / kChannels);
    return (std::ptrdiff_t(number) * filter.ic + (kBackward ? 0 : channel)) * filter.oc +
           (kBackward ? channel : 0);
  }

  // Moves on, and `weight`, a pointer into the filters, with it.
  __device__ __forceinline__ void advance(const ConstView& from, const Taps& taps,
                                          const ConstFilter& filter, const float*& weight) {
    channel += kChannels;
    shift += kChannels;
    weight += kBackward ? kChannels : std::ptrdiff_t(kChannels) * filter.oc;
    if (channel < from.c) return;
    // The next tap. The last chunk may have gone too far.
    std::ptrdiff_t way = taps.pixel;
    if (++kw == taps.side) {
      kw = 0;
      way = taps.row - (taps.side - 1) * taps.pixel;
    }
    shift += way - channel;
    weight += kBackward ? std::ptrdiff_t(filter.ic) * filter.oc - channel
                        : std::ptrdiff_t(filter.ic - channel) * filter.oc;
    channel = 0;
    tap <<= 1;
  }
};

// A row: its pixel in `from`, and the taps for which there is one. A row past the last pixel has
// the first one's, which forward reads for nothing.
struct PixelRow {
  const float* pixel;
  unsigned exist;  // a bit for each tap, of backward_data

  // `to`: the blob whose pixels are the rows.
  template <bool kBackward>
  __device__ __forceinline__ void place(const ConstView& from, const Taps& taps, const View& to,
                                        int row) {
    const int pixels = to.h * to.w;
    const int n = row / pixels, rest = row - n * pixels, h = rest / to.w, w = rest - h * to.w;
    pixel = from.data;
    exist = 0;
    if (n >= to.n) return;
    pixel = from.pixel(n, h, w);
    if constexpr (kBackward) {
      exist = 0x1ff;
      if (!taps.may_leave) return;
#pragma unroll
      for (int k = 0; k < 3; ++k) {
        if (h - k < 0 || h - k >= from.h) exist &= ~(7u << 3 * k);
        if (w - k < 0 || w - k >= from.w) exist &= ~(0x49u << k);
      }
    }
  }

  // How many of the `left` channels from the step's on there are.
  template <bool kBackward>
  __device__ __forceinline__ int count(unsigned tap, int left) const {
    return !kBackward || (exist & tap) != 0 ? left : 0;
  }
};

// Rows of results on their way to memory. With splits these are partial sums, and bias and ReLU
// come when they are added up.
struct PixelStore {
  View to;
  ConstSpan bias;
  FusedRelu relu;

  // The pixel of a row, null past the last.
  __device__ __forceinline__ float* row(int row) const {
    const int pixels = to.h * to.w;
    const int n = row / pixels, rest = row - n * pixels, h = rest / to.w, w = rest - h * to.w;
    return n < to.n ? to.pixel(n, h, w) : nullptr;
  }

  __device__ __forceinline__ float finished(float sum, int column) const {
    if (bias.data != nullptr) sum += bias.data[column];
    if (relu.on && !(sum > 0.0f)) sum *= relu.negative_slope;
    return sum;
  }

  // Four columns of a row.
  template <bool kVector>
  __device__ __forceinline__ void quad(float* row, int column, float4 sums) const {
    if (column >= to.c) return;
    float four[4];
    spread(sums, four);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (kVector || column + i < to.c) four[i] = finished(four[i], column + i);
    }
    store_quad<kVector>(row + column, make_float4(four[0], four[1], four[2], four[3]),
                        to.c - column);
  }
};

// --- correlate ---

// One pixel of each step, for a thread that brings some channels of it: (h, w) in top_diff, with
// what belongs to it in both blobs.
struct PixelWalk {
  int h, w, left;  // left: pixels of the split from this one on
  const float *bottom, *top_diff;

  __device__ __forceinline__ PixelWalk(const ConstView& bottom, const ConstView& top_diff,
                                       int pixel, int end)
      : left(end - pixel) {
    const int pixels = top_diff.h * top_diff.w, n = pixel / pixels, rest = pixel - n * pixels;
    h = rest / top_diff.w;
    w = rest - h * top_diff.w;
    this->bottom = bottom.pixel(n, h, w);
    this->top_diff = top_diff.pixel(n, h, w);
  }

  // Past the end of a row or of an image no more often than a step holds rows, which is seldom.
  __device__ __forceinline__ void advance(const ConstView& from, const ConstView& diff,
                                          int pixels) {
    left -= pixels;
    w += pixels;
    bottom += pixels * from.pixel_stride;
    top_diff += pixels * diff.pixel_stride;
    while (w >= diff.w) {
      w -= diff.w;
      bottom += from.row_stride - diff.w * from.pixel_stride;
      top_diff += diff.row_stride - diff.w * diff.pixel_stride;
      if (++h < diff.h) continue;
      h = 0;
      bottom += from.image_stride - diff.h * from.row_stride;
      top_diff += diff.image_stride - diff.h * diff.row_stride;
    }
  }
};

// Rows of weight_diff: [tap][input channel], those of a tap rounded up to whole quads.
struct WeightRows {
  Taps taps;
  int channels, padded;

  __device__ __forceinline__ WeightRows(const Taps& taps, int channels)
      : taps(taps), channels(channels), padded((channels + 3) / 4 * 4) {}

  // Of the quad that begins with `row`: how many there are, and how far in bottom from the pixel.
  __device__ __forceinline__ void quad(int row, int& count, std::ptrdiff_t& shift) const {
    const int tap = row / padded, channel = row - tap * padded;
    const int kh = tap / taps.side, kw = tap - kh * taps.side;
    count = kh < taps.side ? channels - channel : 0;
    shift = kh * taps.row + kw * taps.pixel + channel;
  }

  // Where [tap][channel][0] lies in partial[tap][channel][OC], null if that does not exist.
  __device__ __forceinline__ float* place(float* partial, int row, int OC) const {
    const int tap = row / padded, channel = row - tap * padded;
    if (tap >= taps.side * taps.side || channel >= channels) return nullptr;
    return partial + (std::ptrdiff_t(tap) * channels + channel) * OC;
  }
};

}  // namespace
}  // namespace unet::UNET_GPU
