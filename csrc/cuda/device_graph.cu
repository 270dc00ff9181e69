// Graphs of launches, through the CUDA runtime.
#include "core/device_graph.h"
#include "cuda/check.h"

namespace unet::UNET_GPU {
namespace {

void begin(const Context& ctx) {
  UNET_CUDA(cudaStreamBeginCapture(stream_of(ctx), cudaStreamCaptureModeThreadLocal));
}

void* end(const Context& ctx) {
  cudaGraph_t graph = nullptr;
  UNET_CUDA(cudaStreamEndCapture(stream_of(ctx), &graph));
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  UNET_CUDA(error);
  return executable;
}

void launch(const Context& ctx, void* graph) {
  UNET_CUDA(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream_of(ctx)));
}

void release(void* graph) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

}  // namespace

extern const DeviceGraphs device_graphs = {begin, end, launch, release};

}  // namespace unet::UNET_GPU
