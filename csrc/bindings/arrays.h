// From numpy arrays to views. Arrays are taken as they are: a wrong dtype or layout is an error
// that names the argument, never a silent copy (unet_native/ops.py makes the copies it needs).
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <type_traits>

#include "core/context.h"
#include "core/error.h"
#include "core/view.h"

namespace unet {

namespace py = pybind11;

inline void refuse(const char* name, const std::string& why) { fail(name, why); }

template <class T>
void check_dtype(const py::array& array, const char* name) {
  using Element = std::remove_const_t<T>;
  if (!py::isinstance<py::array_t<Element>>(array)) {
    refuse(name, "expected an array of " + py::str(py::dtype::of<Element>()).cast<std::string>() +
                     ", got " + py::str(array.dtype()).cast<std::string>());
  }
}

template <class T>
T* data_of(const py::array& array, const char* name) {
  if constexpr (std::is_const_v<T>) {
    return static_cast<T*>(array.data());
  } else {
    if (!array.writeable()) refuse(name, "the array is read-only");
    return static_cast<T*>(const_cast<void*>(array.data()));
  }
}

// An (N, C, H, W) array whose channels are contiguous in memory.
template <class T>
BasicView<T> view_of(const py::array& array, const char* name) {
  check_dtype<T>(array, name);
  if (array.ndim() != 4) {
    refuse(name, "expected 4 axes (N, C, H, W), got " + std::to_string(array.ndim()));
  }
  constexpr auto kSize = static_cast<py::ssize_t>(sizeof(T));
  py::ssize_t stride[4];
  for (int axis = 0; axis < 4; ++axis) {
    if (array.shape(axis) < 1 || array.shape(axis) > (1 << 30)) {
      refuse(name, "axis " + std::to_string(axis) + " has " + std::to_string(array.shape(axis)) +
                       " elements");
    }
    stride[axis] = array.strides(axis) / kSize;
    if (array.strides(axis) % kSize != 0) refuse(name, "strides are no multiple of the element");
  }
  if (array.shape(1) > 1 && stride[1] != 1) refuse(name, "channels must be contiguous in memory");
  return {data_of<T>(array, name),
          static_cast<int>(array.shape(0)),
          static_cast<int>(array.shape(1)),
          static_cast<int>(array.shape(2)),
          static_cast<int>(array.shape(3)),
          stride[0],
          stride[2],
          stride[3]};
}

// A dense [KH][KW][IC][OC] array.
template <class T>
BasicFilter<T> filter_of(const py::array& array, const char* name) {
  check_dtype<T>(array, name);
  if (array.ndim() != 4 || !(array.flags() & py::array::c_style)) {
    refuse(name, "expected a dense [KH][KW][IC][OC] array");
  }
  return {data_of<T>(array, name), static_cast<int>(array.shape(3)),
          static_cast<int>(array.shape(2)), static_cast<int>(array.shape(0)),
          static_cast<int>(array.shape(1))};
}

// Any dense array, flat; None is a null span.
template <class T>
BasicSpan<T> span_of(const py::object& object, const char* name) {
  if (object.is_none()) return {};
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (!py::isinstance<py::array>(object)) refuse(name, "expected an array or None");
  check_dtype<T>(array, name);
  if (!(array.flags() & py::array::c_style)) refuse(name, "expected a dense array");
  return {data_of<T>(array, name), array.size()};
}

}  // namespace unet
