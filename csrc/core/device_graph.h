// What was launched once, recorded, to be launched again as a whole.
#pragma once

#include "core/device_table.h"

namespace unet {

struct DeviceGraphs {
  // From begin to end, what is launched on the context's stream is recorded and does not run. Then
  // nothing may allocate, wait or copy; end() throws CudaError if something has.
  void (*begin)(const Context&);
  void* (*end)(const Context&);
  void (*launch)(const Context&, void* graph);
  void (*release)(void* graph);
};

UNET_DEVICE_TABLE(DeviceGraphs, device_graphs);

}  // namespace unet
