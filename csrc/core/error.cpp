#include "core/error.h"

#include <stdexcept>

#include "core/cuda_status.h"

namespace unet {

void fail(const char* op, const std::string& message) {
  throw std::invalid_argument(std::string(op) + ": " + message);
}

void fail_no_device(Device device) {
  if (device == Device::kCuda && !cuda_obstacle().empty()) {
    throw std::runtime_error("device=\"cuda\" cannot be used: " + cuda_obstacle());
  }
  throw std::runtime_error(std::string("this build of unet_native has no such kernel for ") +
                           "device=\"" + device_name(device) + "\": use device=\"cpu\"");
}

std::string shape_string(int n, int c, int h, int w) {
  return std::to_string(n) + "x" + std::to_string(c) + "x" + std::to_string(h) + "x" +
         std::to_string(w);
}

}  // namespace unet
