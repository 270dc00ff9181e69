#include "core/cuda_status.h"

#include <cstdlib>
#include <sstream>

#include "core/config.h"

namespace unet {
namespace {

// Of cudaError_t; this file is compiled where there is no CUDA too.
constexpr int kInsufficientDriver = 35, kNoDevice = 100;

std::string version_string(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Machine code runs on later GPUs of the same major capability, PTX on all later ones.
bool runs_on(const std::string& architectures, int major, int minor) {
  std::istringstream list(architectures);
  for (std::string one; std::getline(list, one, ';');) {
    const int built = std::atoi(one.c_str()), at_hand = 10 * major + minor;
    const bool has_code = one.find("-virtual") == std::string::npos;
    const bool has_ptx = one.find("-real") == std::string::npos;
    if (built <= at_hand && (has_ptx || (has_code && built / 10 == major))) return true;
  }
  return false;
}

}  // namespace

std::string cuda_obstacle(const CudaAnswers& answers, const std::string& architectures,
                          const std::string& missing) {
  if (architectures.empty()) {
    return "this build of unet_native is without CUDA (" + missing +
           "): install it again with UNET_NATIVE_CUDA=ON, or =wheels if there is no nvcc, in the "
           "environment";
  }
  if (answers.error == kInsufficientDriver && answers.driver == 0) {
    return "this machine has no NVIDIA driver (libcuda.so.1 was not found)";
  }
  if (answers.error == kInsufficientDriver) {
    return "the NVIDIA driver is too old: it knows CUDA " + version_string(answers.driver) +
           ", and this build needs " + version_string(answers.runtime) + "; install a newer driver";
  }
  if (answers.error == kNoDevice || (answers.error == 0 && answers.devices.empty())) {
    return "the NVIDIA driver has no GPU to offer: none is there, or CUDA_VISIBLE_DEVICES hides it";
  }
  if (answers.error != 0) return "the NVIDIA driver answers \"" + answers.error_text + "\"";
  const CudaDevice& device = answers.devices.front();
  if (!runs_on(architectures, device.major, device.minor)) {
    const std::string capability = std::to_string(device.major) + std::to_string(device.minor);
    return "the kernels of this build (" + architectures + ") do not run on the " + device.name +
           ", an sm_" + capability + ": " +
           (10 * device.major + device.minor < 75
                ? "they need sm_75 or newer"
                : "install it again with UNET_NATIVE_CUDA=ON in the environment");
  }
  return "";
}

const CudaAnswers& cuda_answers() {
  static const CudaAnswers answers =
      cuda::ask_driver != nullptr ? cuda::ask_driver() : CudaAnswers{};
  return answers;
}

std::string cuda_obstacle() {
  return cuda_obstacle(cuda_answers(), UNET_CUDA_ARCHITECTURES, UNET_CUDA_MISSING);
}

}  // namespace unet
