// From numpy arrays to planes of pixels, for the bindings of image/.
#pragma once

#include "bindings/arrays.h"
#include "image/plane.h"

namespace unet {

// A dense (H, W) or, with channels, (H, W, C) array.
template <class T>
Plane<T> plane_of(const py::array& array, const char* name, bool with_channels = false) {
  check_dtype<T>(array, name);
  const int axes = with_channels ? 3 : 2;
  if (array.ndim() != axes) {
    refuse(name, std::string("expected axes ") + (with_channels ? "(H, W, C)" : "(H, W)") +
                     ", got " + std::to_string(array.ndim()) + " axes");
  }
  if (!(array.flags() & py::array::c_style)) refuse(name, "expected a dense array");
  for (int axis = 0; axis < axes; ++axis) {
    if (array.shape(axis) < 1 || array.shape(axis) > (1 << 30)) {
      refuse(name, "axis " + std::to_string(axis) + " has " + std::to_string(array.shape(axis)) +
                       " elements");
    }
  }
  return {data_of<T>(array, name), static_cast<int>(array.shape(0)),
          static_cast<int>(array.shape(1)), with_channels ? static_cast<int>(array.shape(2)) : 1};
}

}  // namespace unet
