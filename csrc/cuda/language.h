// The language of the kernels: CUDA C++ where nvcc compiles them, the SIMT runtime's imitation of
// it where an ordinary compiler does (csrc/simt/). The same source serves both; what differs is
// here and in device_ops.h.
//
// Every file of kernels is compiled into a namespace of its own, UNET_GPU: `cuda` for the device,
// `cuda_simt` and `cuda_simt_checked` for the runtime without and with its checker. Kernels and
// helpers live in anonymous namespaces, so that the linker does not mix them up.
#pragma once

#if defined(__CUDACC__)
#include <cuda_runtime.h>

#include <utility>
#define UNET_GPU cuda
#else
#include "simt/cuda_runtime.h"
#if UNET_SIMT_CHECKED
#define UNET_GPU cuda_simt_checked
#else
#define UNET_GPU cuda_simt
#endif
#endif

namespace unet::UNET_GPU {
namespace {

// The shared memory of the block, which the launch has given sizeof(T) bytes.
template <class T>
__device__ __forceinline__ T& shared_memory() {
#if defined(__CUDACC__)
  extern __shared__ __align__(128) unsigned char bytes[];
  return *reinterpret_cast<T*>(bytes);
#else
  return *reinterpret_cast<T*>(unet::simt::machine().shared_memory());
#endif
}

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...). More than 48 KB of shared memory are
// asked for first. `name` is for the findings of the SIMT runtime.
template <class... Parameters, class... Arguments>
cudaError_t launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                   std::size_t shared_bytes, cudaStream_t stream, Arguments&&... arguments) {
  if (shared_bytes > 48 << 10) {
    const cudaError_t error =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes));
    if (error != cudaSuccess) return error;
  }
#if defined(__CUDACC__)
  (void)name;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
#else
  return unet::simt::launch_kernel(name, kernel, grid, block, shared_bytes, stream,
                                   std::forward<Arguments>(arguments)...);
#endif
}

}  // namespace
}  // namespace unet::UNET_GPU
