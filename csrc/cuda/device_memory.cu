// The device's memory, through the CUDA runtime.
#include "core/device_memory.h"
#include "cuda/check.h"

namespace unet::UNET_GPU {
namespace {

void* allocate(std::size_t bytes) {
  void* p = nullptr;
  UNET_CUDA(cudaMalloc(&p, bytes));
  return p;
}

void release(void* p) { cudaFree(p); }

void upload(const Context& ctx, void* to, const void* from, std::size_t bytes) {
  UNET_CUDA(cudaStreamSynchronize(stream_of(ctx)));
  UNET_CUDA(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
}

void download(const Context& ctx, void* to, const void* from, std::size_t bytes) {
  UNET_CUDA(cudaStreamSynchronize(stream_of(ctx)));
  UNET_CUDA(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
}

void wait(const Context& ctx) { UNET_CUDA(cudaStreamSynchronize(stream_of(ctx))); }

bool is_on_device(const void* p) {
  cudaPointerAttributes attributes{};
  const cudaError_t error = cudaPointerGetAttributes(&attributes, p);
  if (error != cudaSuccess) cudaGetLastError();
  return error == cudaSuccess && attributes.type == cudaMemoryTypeDevice;
}

}  // namespace

extern const DeviceMemory device_memory = {allocate, release, upload, download, wait, is_on_device};

}  // namespace unet::UNET_GPU
