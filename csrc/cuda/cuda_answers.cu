// What the CUDA runtime says of this machine. It makes no context on the GPU, and without a driver
// it is answered by the runtime alone.
#include <cuda_runtime_api.h>

#include "core/cuda_status.h"

namespace unet::cuda {

CudaAnswers ask_driver() {
  CudaAnswers answers;
  cudaDriverGetVersion(&answers.driver);
  cudaRuntimeGetVersion(&answers.runtime);
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();  // it is ours, not to be found by a later call
  answers.error = error;
  answers.error_text = cudaGetErrorString(error);
  if (error != cudaSuccess) return answers;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp of{};
    if (cudaGetDeviceProperties(&of, i) != cudaSuccess) continue;
    answers.devices.push_back(
        {of.name, of.major, of.minor, of.totalGlobalMem, of.multiProcessorCount});
  }
  return answers;
}

}  // namespace unet::cuda
