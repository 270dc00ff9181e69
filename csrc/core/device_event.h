// Marks in the stream of a device, between which it tells how much time has passed.
#pragma once

#include "core/device_table.h"

namespace unet {

struct DeviceEvents {
  void* (*create)(const Context&);
  void (*record)(const Context&, void* event);  // after all that was launched before
  // From one recorded event to another; waits for the latter. NaN on the SIMT runtime.
  double (*seconds)(const Context&, void* from, void* to);
  void (*release)(void* event);
};

UNET_DEVICE_TABLE(DeviceEvents, device_events);

}  // namespace unet
