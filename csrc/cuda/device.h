// What the device in use is.
#pragma once

#include "cuda/check.h"

namespace unet::UNET_GPU {
namespace {

// Never cached: CUDA keeps attributes in the process, and asking costs less than a launch.
int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  UNET_CUDA(cudaGetDevice(&device));
  UNET_CUDA(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

inline int multiprocessors() { return device_attribute(cudaDevAttrMultiProcessorCount); }

}  // namespace
}  // namespace unet::UNET_GPU
