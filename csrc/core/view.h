// Views: where an array of float32 lies, without owning it.
//
// A blob is indexed (n, c, h, w) as in Caffe, but its channels are contiguous in memory
// ("channels last"), so that a vector register always holds neighbouring channels of one pixel:
//
//   address(n, c, h, w) = data + n*image_stride + h*row_stride + w*pixel_stride + c
//
// The three strides are free. A crop is the same view from another starting pixel, one half of a
// concat buffer is the same view from another starting channel: neither needs a copy.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/host_device.h"

namespace unet {

template <class T>
struct BasicView {
  T* data = nullptr;
  int n = 0, c = 0, h = 0, w = 0;
  std::ptrdiff_t image_stride = 0, row_stride = 0, pixel_stride = 0;  // in elements

  UNET_HOST_DEVICE T* pixel(int in, int ih, int iw) const {
    return data + in * image_stride + ih * row_stride + iw * pixel_stride;
  }
  std::ptrdiff_t count() const { return static_cast<std::ptrdiff_t>(n) * c * h * w; }
  operator BasicView<const T>() const {
    return {data, n, c, h, w, image_stride, row_stride, pixel_stride};
  }
};

using View = BasicView<float>;
using ConstView = BasicView<const float>;
using MaskView = BasicView<std::uint8_t>;
using ConstMaskView = BasicView<const std::uint8_t>;

// Blobs of one size side by side along their channels, read in place of a concat that nobody wrote.
// A single blob is such a row of one.
struct ConcatView {
  static constexpr int kMaxParts = 2;

  ConstView part[kMaxParts];
  int parts = 1;

  ConcatView() = default;
  ConcatView(ConstView only) : part{only, {}} {}
  ConcatView(ConstView first, ConstView second) : part{first, second}, parts(2) {}

  // Of all parts together.
  ConstView shape() const {
    ConstView all = part[0];
    for (int p = 1; p < parts; ++p) all.c += part[p].c;
    all.data = nullptr;
    return all;
  }
};

// A filter bank. Python sees Caffe's shapes, (OC, IC, KH, KW) for a convolution and
// (IC, OC, KH, KW) for an up-convolution; in memory both are dense [KH][KW][IC][OC].
template <class T>
struct BasicFilter {
  T* data = nullptr;
  int oc = 0, ic = 0, kh = 0, kw = 0;

  UNET_HOST_DEVICE T* tap(int h, int w) const {
    return data + static_cast<std::ptrdiff_t>(h * kw + w) * ic * oc;
  }
  operator BasicFilter<const T>() const { return {data, oc, ic, kh, kw}; }
};

using Filter = BasicFilter<float>;
using ConstFilter = BasicFilter<const float>;

// A dense vector: bias, parameters as the solver sees them, workspace. `data` may be null (no
// bias).
template <class T>
struct BasicSpan {
  T* data = nullptr;
  std::ptrdiff_t size = 0;

  operator BasicSpan<const T>() const { return {data, size}; }
};

using Span = BasicSpan<float>;
using ConstSpan = BasicSpan<const float>;

}  // namespace unet
