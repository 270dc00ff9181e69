// Memory of a device, for those who keep blobs there.
#pragma once

#include <cstddef>

#include "core/context.h"

namespace unet {

struct DeviceMemory {
  void* (*allocate)(std::size_t bytes);  // throws CudaError if there is not so much left
  void (*release)(void* p);
  void (*upload)(const Context&, void* to, const void* from, std::size_t bytes);
  void (*download)(const Context&, void* to, const void* from, std::size_t bytes);  // waits
  void (*wait)(const Context&);  // until all that was launched is done
  bool (*is_on_device)(const void* p);
};

namespace cuda {
extern const DeviceMemory device_memory __attribute__((weak));
}
namespace cuda_simt {
extern const DeviceMemory device_memory __attribute__((weak));
}
namespace cuda_simt_checked {
extern const DeviceMemory device_memory __attribute__((weak));
}

// That of a device which is not the CPU; throws std::runtime_error if the build has none.
const DeviceMemory& device_memory(Device device);
bool has_device(Device device);

}  // namespace unet
