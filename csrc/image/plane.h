// A dense row-major plane of pixels: [H][W], or [H][W][C] where a function says so.
#pragma once

#include <cstddef>

namespace unet {

template <class T>
struct Plane {
  T* data = nullptr;
  int h = 0, w = 0, c = 1;

  T* row(int y) const { return data + static_cast<std::ptrdiff_t>(y) * w * c; }
};

}  // namespace unet
