// Whether device="cuda" can be used here, and if not, why: the driver may be missing or too old, it
// may have no GPU to offer, or this build no kernels for it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace unet {

struct CudaDevice {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  std::size_t memory = 0;    // bytes
  int multiprocessors = 0;
};

// What the CUDA runtime says of this machine.
struct CudaAnswers {
  int error = 0;  // a cudaError_t, of the question how many GPUs there are
  std::string error_text;
  int driver = 0, runtime = 0;  // the newest CUDA of each, as 13000 for 13.0; 0: no driver
  std::vector<CudaDevice> devices;
};

namespace cuda {
CudaAnswers ask_driver() __attribute__((weak));  // null where the build is without CUDA
}

const CudaAnswers& cuda_answers();  // asked for once

// In one sentence, or "" if the first GPU can be used. `architectures` is what the kernels were
// compiled for, in CMake's notation ("80-real;120-virtual"), empty if the build is without CUDA
// because `missing`.
std::string cuda_obstacle(const CudaAnswers& answers, const std::string& architectures,
                          const std::string& missing);
std::string cuda_obstacle();  // here, to this build

}  // namespace unet
