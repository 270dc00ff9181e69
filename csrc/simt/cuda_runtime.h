// CUDA's runtime API, as far as the host code of cuda/ uses it: memory, streams, events, graphs,
// launches. It refuses what CUDA refuses, with CUDA's error codes, and it is lazy: what is put into
// a stream runs only when somebody waits for it, so that whoever forgets to wait reads NaN.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "simt/cuda_language.h"

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
};

enum cudaMemcpyKind {
  cudaMemcpyHostToHost = 0,
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
};
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal = 0,
  cudaStreamCaptureModeThreadLocal = 1,
  cudaStreamCaptureModeRelaxed = 2,
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaMemoryType {
  cudaMemoryTypeUnregistered = 0,
  cudaMemoryTypeHost = 1,
  cudaMemoryTypeDevice = 2
};
struct cudaPointerAttributes {
  cudaMemoryType type;
};
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;

namespace unet::simt {
class Stream;
struct Event;
struct Graph;
}  // namespace unet::simt
using cudaStream_t = unet::simt::Stream*;
using cudaEvent_t = unet::simt::Event*;
using cudaGraph_t = unet::simt::Graph*;
using cudaGraphExec_t = unet::simt::Graph*;

enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
struct cudaDeviceProp {
  char name[256];
  std::size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin, sharedMemPerMultiprocessor;
  int major, minor, multiProcessorCount, warpSize, maxThreadsPerBlock, regsPerMultiprocessor;
};

namespace unet::simt {

// The emulated device: by default one that has what sm_80 has, and three multiprocessors, so that
// even small tests fill it.
cudaDeviceProp& device_properties();

// Lets it be another: of a compute capability (80 for sm_80), with what shared memory that has, and
// so many multiprocessors. False if the runtime knows no such capability.
bool pretend_device(int capability, int multiprocessors);

cudaError_t allocate_device(void** p, std::size_t bytes, bool checked);
cudaError_t enqueue_launch(cudaStream_t stream, const void* kernel, Launch launch);

// Forgets an error that the device would not survive, and drops what is queued.
void reset_device();

}  // namespace unet::simt

const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);

inline cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  return unet::simt::allocate_device(p, bytes, UNET_SIMT_CHECKED);
}
cudaError_t cudaFree(void* p);
cudaError_t cudaMallocHost(void** p, std::size_t bytes);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p);
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaMemset(void* p, int value, std::size_t bytes);
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream = nullptr);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
// Of two events that have been reached: NaN, since no time passes here that means anything.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaEventDestroy(cudaEvent_t event);

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);

namespace unet::simt {

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...), with a name for findings.
template <class... Parameters, class... Arguments>
cudaError_t launch_kernel(const std::string& name, void (*kernel)(Parameters...), dim3 grid,
                          dim3 block, std::size_t shared_bytes, cudaStream_t stream,
                          Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<std::decay_t<Parameters>...> parameters;
  };
  auto call = std::make_shared<Call>(Call{kernel, {static_cast<Parameters>(arguments)...}});
  const auto thread = [](void* parameters) {
    const auto& of = *static_cast<const Call*>(parameters);
    std::apply(of.kernel, of.parameters);
  };
  const auto code = reinterpret_cast<const void*>(kernel);
  const auto listed = [](const auto&... each) {
    return std::vector<Argument>{{&each, sizeof each}...};
  };
  std::vector<Argument> places = std::apply(listed, call->parameters);
  return enqueue_launch(stream, code,
                        {name, grid, block, shared_bytes, UNET_SIMT_CHECKED, thread,
                         std::move(call), sizeof(Call), code, std::move(places)});
}

}  // namespace unet::simt
