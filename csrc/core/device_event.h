// Marks in the stream of a device, between which it tells how much time has passed.
#pragma once

#include "core/context.h"

namespace unet {

struct DeviceEvents {
  void* (*create)(const Context&);
  void (*record)(const Context&, void* event);  // after all that was launched before
  // From one recorded event to another; waits for the latter. NaN on the SIMT runtime.
  double (*seconds)(const Context&, void* from, void* to);
  void (*release)(void* event);
};

namespace cuda {
extern const DeviceEvents device_events __attribute__((weak));
}
namespace cuda_simt {
extern const DeviceEvents device_events __attribute__((weak));
}
namespace cuda_simt_checked {
extern const DeviceEvents device_events __attribute__((weak));
}

// Those of a device which is not the CPU; throws std::runtime_error if the build has none.
const DeviceEvents& device_events(Device device);

}  // namespace unet
