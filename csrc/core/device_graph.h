// What was launched once, recorded, to be launched again as a whole.
#pragma once

#include "core/context.h"

namespace unet {

struct DeviceGraphs {
  // From begin to end, what is launched on the context's stream is recorded and does not run. Then
  // nothing may allocate, wait or copy; end() throws CudaError if something has.
  void (*begin)(const Context&);
  void* (*end)(const Context&);
  void (*launch)(const Context&, void* graph);
  void (*release)(void* graph);
};

namespace cuda {
extern const DeviceGraphs device_graphs __attribute__((weak));
}
namespace cuda_simt {
extern const DeviceGraphs device_graphs __attribute__((weak));
}
namespace cuda_simt_checked {
extern const DeviceGraphs device_graphs __attribute__((weak));
}

// Those of a device which is not the CPU; throws std::runtime_error if the build has none.
const DeviceGraphs& device_graphs(Device device);

}  // namespace unet
