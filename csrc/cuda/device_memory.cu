// The device's memory, through the CUDA runtime.
//
// Uploads go through a ring of pinned buffers, so that the host goes on while the copy engine
// works: the caller's memory is read before upload() returns, and a buffer is filled again only
// when its last copy has arrived.
#include <cstring>

#include "core/device_memory.h"
#include "cuda/check.h"
#include "cuda/device.h"

namespace unet::UNET_GPU {
namespace {

constexpr std::size_t kMostPinned = std::size_t{32} << 20;  // bytes of one buffer
constexpr int kRing = 8;  // more than a step uploads: three inputs, the iteration, the rate

struct PinnedBuffer {
  void* memory = nullptr;
  std::size_t bytes = 0;
  cudaEvent_t arrived = nullptr;

  void hold(std::size_t wanted) {
    if (arrived == nullptr) {
      UNET_CUDA(cudaEventCreateWithFlags(&arrived, cudaEventDisableTiming));
    } else {
      UNET_CUDA(cudaEventSynchronize(arrived));
    }
    if (wanted <= bytes) return;
    UNET_CUDA(cudaFreeHost(memory));
    memory = nullptr;
    bytes = 0;
    UNET_CUDA(cudaMallocHost(&memory, wanted));
    bytes = wanted;
  }
};

// What this process has on a GPU. Nothing is given back at its end: the driver is gone by then.
struct Gpu {
  cudaStream_t stream = nullptr;
  PinnedBuffer ring[kRing];
  int next = 0;
};

constexpr int kMostGpus = 64;
Gpu gpus[kMostGpus];

void select(int gpu) {
  thread_local int selected = 0;
  if (gpu == selected) return;
  UNET_CUDA(cudaSetDevice(gpu));
  selected = gpu;
}

void* open(int gpu) {
  int count = 0;
  UNET_CUDA(cudaGetDeviceCount(&count));
  if (gpu < 0 || gpu >= count || gpu >= kMostGpus) {
    throw CudaError("there is no GPU " + std::to_string(gpu) + ": this machine has " +
                    std::to_string(count) + ", counted from 0");
  }
  select(gpu);
  Gpu& opened = gpus[gpu];
  if (opened.stream == nullptr) {
    UNET_CUDA(cudaStreamCreateWithFlags(&opened.stream, cudaStreamNonBlocking));
  }
  return opened.stream;
}

void* allocate(std::size_t bytes) {
  void* p = nullptr;
  UNET_CUDA(cudaMalloc(&p, bytes));
  return p;
}

void release(void* p) { cudaFree(p); }

void upload(const Context& ctx, void* to, const void* from, std::size_t bytes) {
  Gpu& gpu = gpus[ctx.gpu];
  for (std::size_t done = 0; done < bytes; done += kMostPinned) {
    const std::size_t part = bytes - done < kMostPinned ? bytes - done : kMostPinned;
    PinnedBuffer& buffer = gpu.ring[gpu.next];
    gpu.next = (gpu.next + 1) % kRing;
    buffer.hold(part);
    std::memcpy(buffer.memory, static_cast<const char*>(from) + done, part);
    UNET_CUDA(cudaMemcpyAsync(static_cast<char*>(to) + done, buffer.memory, part,
                              cudaMemcpyHostToDevice, stream_of(ctx)));
    UNET_CUDA(cudaEventRecord(buffer.arrived, stream_of(ctx)));
  }
}

void download(const Context& ctx, void* to, const void* from, std::size_t bytes) {
  UNET_CUDA(cudaStreamSynchronize(stream_of(ctx)));
  UNET_CUDA(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
}

void clear(const Context& ctx, void* p, std::size_t bytes) {
  UNET_CUDA(cudaMemsetAsync(p, 0, bytes, stream_of(ctx)));
}

void wait(const Context& ctx) { UNET_CUDA(cudaStreamSynchronize(stream_of(ctx))); }

bool is_on_device(const void* p) {
  cudaPointerAttributes attributes{};
  const cudaError_t error = cudaPointerGetAttributes(&attributes, p);
  if (error != cudaSuccess) cudaGetLastError();
  return error == cudaSuccess && attributes.type == cudaMemoryTypeDevice;
}

void room(std::size_t& free, std::size_t& total) { UNET_CUDA(cudaMemGetInfo(&free, &total)); }

int compute_capability() {
  return 10 * device_attribute(cudaDevAttrComputeCapabilityMajor) +
         device_attribute(cudaDevAttrComputeCapabilityMinor);
}

}  // namespace

extern const DeviceMemory device_memory = {
    open, select,       allocate, release,           upload, download, clear,
    wait, is_on_device, room,     compute_capability};

}  // namespace unet::UNET_GPU
