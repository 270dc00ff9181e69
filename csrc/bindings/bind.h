// One function per op registers its Python entry points; module.cpp calls them all.
#pragma once

#include <pybind11/pybind11.h>

namespace unet {

void bind_conv3x3(pybind11::module_& m);
void bind_relu(pybind11::module_& m);

}  // namespace unet
