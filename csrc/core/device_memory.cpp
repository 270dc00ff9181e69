#include "core/device_memory.h"

#include "core/cuda_status.h"
#include "core/error.h"

namespace unet {

void check_math(Device device, Math math) {
  if (math == Math::kFp32) return;
  const std::string wish =
      std::string("math=\"") + math_name(math) + "\" needs the tensor cores of ";
  if (device == Device::kCpu) {
    fail("Context", wish + "a GPU: use math=\"fp32\" with device=\"cpu\"");
  }
  constexpr int kFirst = 80;  // sm_80 brought products of TF32 and bfloat16
  const int capability = device_memory(device).compute_capability();
  if (capability < kFirst) {
    fail("Context", wish + "compute capability 8.0 or newer, and this device has " +
                        std::to_string(capability / 10) + "." + std::to_string(capability % 10) +
                        ": use math=\"fp32\"");
  }
}

bool has_device(Device device) {
  if (device == Device::kCuda) return cuda_obstacle().empty();
  return device == Device::kCpu || find_device_memory(device) != nullptr;
}

}  // namespace unet
