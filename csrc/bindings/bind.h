// One function per op, and per file of image/, registers its Python entry points; module.cpp calls
// them all.
#pragma once

#include <pybind11/pybind11.h>

namespace unet {

void bind_conv1x1(pybind11::module_& m);
void bind_conv3x3(pybind11::module_& m);
void bind_up_conv2x2(pybind11::module_& m);
void bind_relu(pybind11::module_& m);
void bind_max_pool2x2(pybind11::module_& m);
void bind_crop_concat(pybind11::module_& m);
void bind_dropout(pybind11::module_& m);
void bind_softmax(pybind11::module_& m);
void bind_softmax_loss(pybind11::module_& m);
void bind_sgd(pybind11::module_& m);
void bind_adam(pybind11::module_& m);
void bind_fma_peak(pybind11::module_& m);

void bind_device(pybind11::module_& m);
void bind_host_graph(pybind11::module_& m);
void bind_cuda_status(pybind11::module_& m);
void bind_simt(pybind11::module_& m);
void bind_border_distance(pybind11::module_& m);
void bind_warp(pybind11::module_& m);
void bind_components(pybind11::module_& m);
void bind_cut_pixels(pybind11::module_& m);
void bind_flooding(pybind11::module_& m);
void bind_watershed(pybind11::module_& m);
void bind_partition_scores(pybind11::module_& m);
void bind_warping_error(pybind11::module_& m);

}  // namespace unet
