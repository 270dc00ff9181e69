// One function per op, and per file of image/, registers its Python entry points; module.cpp calls
// them all.
#pragma once

#include <pybind11/pybind11.h>

namespace unet {

void bind_conv3x3(pybind11::module_& m);
void bind_relu(pybind11::module_& m);

void bind_border_distance(pybind11::module_& m);
void bind_warp(pybind11::module_& m);

}  // namespace unet
