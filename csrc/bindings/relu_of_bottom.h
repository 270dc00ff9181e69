// The rectifier that a backward_data is to apply, from its Python arguments.
#pragma once

#include "bindings/staging.h"
#include "core/activation.h"

namespace unet {

// `bottom`: the bottom's data, or None for no rectifier.
inline ReluOfBottom relu_of_bottom(Arguments& arguments, const py::object& bottom,
                                   float negative_slope) {
  if (bottom.is_none()) return {};
  if (!py::isinstance<py::array>(bottom)) refuse("bottom", "expected an array or None");
  const auto array = py::reinterpret_borrow<py::array>(bottom);
  return {arguments.view<const float>(array, "bottom"), negative_slope};
}

}  // namespace unet
