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

// Whether the code is for a device that has them and asynchronous copies; kernels that need both
// are empty for others, and nothing launches them there.
#if defined(__CUDA_ARCH__)
constexpr bool kHasTensorCores = __CUDA_ARCH__ >= 800;
#else
constexpr bool kHasTensorCores = true;
#endif

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

// What findings of the SIMT runtime call a launch: the op's pass and, where it has a choice of
// kernels, which one.
struct LaunchName {
  const char *pass, *kernel;
  LaunchName(const char* pass, const char* kernel = "") : pass(pass), kernel(kernel) {}
};

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...). More than 48 KB of shared memory are
// asked for first.
template <class... Parameters, class... Arguments>
cudaError_t launch(const LaunchName& name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
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
  const std::string space = *name.kernel != 0 ? " " : "";
  return unet::simt::launch_kernel(name.pass + space + name.kernel, kernel, grid, block,
                                   shared_bytes, stream, std::forward<Arguments>(arguments)...);
#endif
}

}  // namespace
}  // namespace unet::UNET_GPU
