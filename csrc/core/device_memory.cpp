#include "core/device_memory.h"

#include "core/cuda_status.h"
#include "core/error.h"

namespace unet {
namespace {

const DeviceMemory* memory_of(Device device) {
  const DeviceMemory* const memories[] = {nullptr, &cuda::device_memory, &cuda_simt::device_memory,
                                          &cuda_simt_checked::device_memory};
  return memories[static_cast<int>(device)];
}

}  // namespace

const DeviceMemory& device_memory(Device device) {
  const DeviceMemory* const memory = memory_of(device);
  if (memory == nullptr) fail_no_device(device);
  return *memory;
}

bool has_device(Device device) {
  if (device == Device::kCuda) return cuda_obstacle().empty();
  return device == Device::kCpu || memory_of(device) != nullptr;
}

}  // namespace unet
