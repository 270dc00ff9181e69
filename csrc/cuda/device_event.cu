// Events that take the time, through the CUDA runtime.
#include "core/device_event.h"
#include "cuda/check.h"

namespace unet::UNET_GPU {
namespace {

cudaEvent_t event_of(void* event) { return static_cast<cudaEvent_t>(event); }

void* create(const Context&) {
  cudaEvent_t event = nullptr;
  UNET_CUDA(cudaEventCreateWithFlags(&event, 0));
  return event;
}

void record(const Context& ctx, void* event) {
  UNET_CUDA(cudaEventRecord(event_of(event), stream_of(ctx)));
}

double seconds(const Context&, void* from, void* to) {
  UNET_CUDA(cudaEventSynchronize(event_of(to)));
  float milliseconds = 0;
  UNET_CUDA(cudaEventElapsedTime(&milliseconds, event_of(from), event_of(to)));
  return milliseconds * 1e-3;
}

void release(void* event) { cudaEventDestroy(event_of(event)); }

}  // namespace

extern const DeviceEvents device_events = {create, record, seconds, release};

}  // namespace unet::UNET_GPU
