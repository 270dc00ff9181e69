// Memory of a device, for those who keep blobs there, the one stream that works on it, and what it
// can compute.
#pragma once

#include <cstddef>

#include "core/device_table.h"

namespace unet {

struct DeviceMemory {
  // The stream of that GPU, made at the first call; throws CudaError where there is no such GPU.
  void* (*open)(int gpu);
  void (*select)(int gpu);               // for the calling thread
  void* (*allocate)(std::size_t bytes);  // throws CudaError if there is not so much left
  void (*release)(void* p);
  // Returns when `from` may change, not when the copy has arrived: what is launched later sees it.
  void (*upload)(const Context&, void* to, const void* from, std::size_t bytes);
  void (*download)(const Context&, void* to, const void* from, std::size_t bytes);  // waits
  void (*clear)(const Context&, void* p, std::size_t bytes);                        // to zeros
  void (*wait)(const Context&);  // until all that was launched is done
  bool (*is_on_device)(const void* p);
  void (*room)(std::size_t& free, std::size_t& total);  // bytes of the selected GPU
  int (*compute_capability)();                          // of the device in use, 80 for sm_80
};

UNET_DEVICE_TABLE(DeviceMemory, device_memory);

bool has_device(Device device);  // whether it can be used here

// Throws std::invalid_argument if the device cannot compute products in `math`.
void check_math(Device device, Math math);

}  // namespace unet
