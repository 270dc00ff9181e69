#include "core/device_event.h"

#include "core/error.h"

namespace unet {

const DeviceEvents& device_events(Device device) {
  const DeviceEvents* const events[] = {nullptr, &cuda::device_events, &cuda_simt::device_events,
                                        &cuda_simt_checked::device_events};
  const DeviceEvents* const found = events[static_cast<int>(device)];
  if (found == nullptr) fail_no_device(device);
  return *found;
}

}  // namespace unet
