#include "simt/cuda_runtime.h"

#include <algorithm>
#include <cstdlib>

#include "simt/finding.h"
#include "simt/memory.h"
#include "simt/recording.h"
#include "simt/runtime_state.h"

namespace unet::simt {
namespace {

constexpr std::size_t kSharedWithoutAsking = 48 << 10;

bool is_pinned(const void* p, std::size_t bytes) {
  const auto* address = static_cast<const char*>(p);
  auto next = state().pinned.upper_bound(address);
  if (next == state().pinned.begin()) return false;
  const auto& [begin, size] = *std::prev(next);
  return address + bytes <= begin + size;
}

// Whether both ends of a copy are what its kind says.
bool is_valid_copy(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return is_on_device(to, bytes) == to_device && is_on_device(from, bytes) == from_device;
}

void copy_now(void* to, const void* from, std::size_t bytes) {
  const DeviceAccess access;
  std::memmove(to, from, bytes);
  host_wrote(to, bytes);
}

bool fits_device(const dim3& grid, const dim3& block) {
  const auto threads = static_cast<std::size_t>(block.x) * block.y * block.z;
  return threads >= 1 && threads <= kMostThreads && block.z <= 64 && grid.x >= 1 && grid.y >= 1 &&
         grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535;
}

// Shared memory of a multiprocessor by compute capability, in KB (CUDA C++ programming guide). A
// block gets one less, but all of it before 8.0.
bool set_device(cudaDeviceProp& properties, int capability, int multiprocessors) {
  static const std::map<int, std::size_t> kShared = {{75, 64},   {80, 164},  {86, 100},  {87, 164},
                                                     {89, 100},  {90, 228},  {100, 228}, {103, 228},
                                                     {110, 228}, {120, 100}, {121, 100}};
  const auto found = kShared.find(capability);
  if (found == kShared.end()) return false;
  properties.major = capability / 10;
  properties.minor = capability % 10;
  properties.multiProcessorCount = multiprocessors;
  properties.sharedMemPerMultiprocessor = found->second << 10;
  properties.sharedMemPerBlockOptin = (found->second - (capability < 80 ? 0 : 1)) << 10;
  return true;
}

}  // namespace

cudaDeviceProp& device_properties() {
  static cudaDeviceProp properties = [] {
    cudaDeviceProp p{};
    std::strcpy(p.name, "SIMT runtime on the CPU");
    p.totalGlobalMem = device_memory().total;
    p.sharedMemPerBlock = kSharedWithoutAsking;
    p.warpSize = static_cast<int>(kWarp);
    p.maxThreadsPerBlock = static_cast<int>(kMostThreads);
    p.regsPerMultiprocessor = 65536;
    set_device(p, 80, 3);
    return p;
  }();
  return properties;
}

bool pretend_device(int capability, int multiprocessors) {
  return multiprocessors > 0 && set_device(device_properties(), capability, multiprocessors);
}

cudaError_t allocate_device(void** p, std::size_t bytes, bool checked) {
  if (spoils_capture()) return failed(cudaErrorStreamCaptureUnsupported);
  *p = bytes ? allocate(bytes, checked) : nullptr;
  if (bytes && !*p) return failed(cudaErrorMemoryAllocation);
  return now_or_fatal();
}

cudaError_t enqueue_launch(cudaStream_t stream, const void* kernel, Launch launch) {
  if (!fits_device(launch.grid, launch.block)) return failed(cudaErrorInvalidConfiguration);
  const auto asked = state().shared_limit.find(kernel);
  const std::size_t limit =
      asked == state().shared_limit.end() ? kSharedWithoutAsking : asked->second;
  if (launch.shared_bytes > limit) return failed(cudaErrorInvalidValue);
  return enqueue(stream, [launch = std::move(launch)] {
    if (state().fatal == cudaSuccess && !run_recorded(launch)) {
      state().fatal = cudaErrorLaunchFailure;
    }
  });
}

void reset_device() {
  for (auto& stream : state().streams) {
    stream->queue.clear();
    stream->capture.reset();
  }
  state().fatal = state().last = cudaSuccess;
}

}  // namespace unet::simt

using namespace unet::simt;

// --- errors and the device ---

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
  }
  return "unknown error";
}

const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

cudaError_t cudaGetLastError() { return std::exchange(state().last, state().fatal); }

cudaError_t cudaPeekAtLastError() { return state().last; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  return device == 0 ? now_or_fatal() : failed(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return now_or_fatal();
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return failed(cudaErrorInvalidDevice);
  *properties = device_properties();
  return now_or_fatal();
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return failed(cudaErrorInvalidDevice);
  const cudaDeviceProp& properties = device_properties();
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      return now_or_fatal();
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      return now_or_fatal();
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      return now_or_fatal();
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(properties.sharedMemPerMultiprocessor);
      return now_or_fatal();
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      return now_or_fatal();
  }
  return failed(cudaErrorInvalidValue);
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = device_memory().total;
  *free = *total - std::min(*total, device_memory().used);
  return now_or_fatal();
}

cudaError_t cudaDeviceSynchronize() {
  if (spoils_capture()) return failed(cudaErrorStreamCaptureUnsupported);
  ++state().waits;
  run_everything(false);
  return now_or_fatal();
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  const auto most = static_cast<int>(device_properties().sharedMemPerBlockOptin);
  if (value < 0 || value > most) return failed(cudaErrorInvalidValue);
  state().shared_limit[kernel] = static_cast<std::size_t>(value);
  return now_or_fatal();
}

// --- memory ---

cudaError_t cudaFree(void* p) {
  if (!p) return now_or_fatal();
  if (spoils_capture()) return failed(cudaErrorStreamCaptureUnsupported);
  run_everything(false);
  return release(p) ? now_or_fatal() : failed(cudaErrorInvalidValue);
}

cudaError_t cudaMallocHost(void** p, std::size_t bytes) {
  if (spoils_capture()) return failed(cudaErrorStreamCaptureUnsupported);
  *p = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*p) return failed(cudaErrorMemoryAllocation);
  state().pinned[static_cast<char*>(*p)] = bytes;
  return now_or_fatal();
}

cudaError_t cudaFreeHost(void* p) {
  if (!p) return now_or_fatal();
  if (spoils_capture()) return failed(cudaErrorStreamCaptureUnsupported);
  run_everything(false);
  if (state().pinned.erase(static_cast<char*>(p)) == 0) return failed(cudaErrorInvalidValue);
  std::free(p);
  return now_or_fatal();
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  attributes->type = is_on_device(p, 1) ? cudaMemoryTypeDevice
                     : is_pinned(p, 1)  ? cudaMemoryTypeHost
                                        : cudaMemoryTypeUnregistered;
  return now_or_fatal();
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (spoils_capture()) return failed(cudaErrorStreamCaptureUnsupported);
  if (!is_valid_copy(to, from, bytes, kind)) return failed(cudaErrorInvalidValue);
  run_everything(true);
  if (state().fatal == cudaSuccess) copy_now(to, from, bytes);
  return now_or_fatal();
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (!is_valid_copy(to, from, bytes, kind)) return failed(cudaErrorInvalidValue);
  // CUDA would copy pageable memory too, but not asynchronously: here that is an error.
  const bool host_is_pinned = kind == cudaMemcpyHostToDevice   ? is_pinned(from, bytes)
                              : kind == cudaMemcpyDeviceToHost ? is_pinned(to, bytes)
                                                               : true;
  if (!host_is_pinned) return failed(cudaErrorInvalidValue);
  return enqueue(stream, [=] { copy_now(to, from, bytes); });
}

cudaError_t cudaMemset(void* p, int value, std::size_t bytes) {
  if (spoils_capture()) return failed(cudaErrorStreamCaptureUnsupported);
  return cudaMemsetAsync(p, value, bytes, nullptr);
}

cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream) {
  if (!is_on_device(p, bytes)) return failed(cudaErrorInvalidValue);
  return enqueue(stream, [=] {
    const DeviceAccess access;
    std::memset(p, value, bytes);
    host_wrote(p, bytes);
  });
}
