#include "core/error.h"

#include <stdexcept>

namespace unet {

void fail(const char* op, const std::string& message) {
  throw std::invalid_argument(std::string(op) + ": " + message);
}

void fail_no_device(Device device) {
  throw std::runtime_error(std::string("this build of unet_native has no such kernel for ") +
                           "device=\"" + device_name(device) + "\": use device=\"cpu\"");
}

std::string shape_string(int n, int c, int h, int w) {
  return std::to_string(n) + "x" + std::to_string(c) + "x" + std::to_string(h) + "x" +
         std::to_string(w);
}

}  // namespace unet
