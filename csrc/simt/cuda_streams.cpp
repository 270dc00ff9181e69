#include <limits>

#include "simt/runtime_state.h"

namespace unet::simt {

RuntimeState& state() {
  static RuntimeState* instance = new RuntimeState;
  return *instance;
}

cudaError_t failed(cudaError_t error) {
  if (error != cudaSuccess) state().last = error;
  return error;
}

cudaError_t now_or_fatal() { return failed(state().fatal); }

Stream* stream_of(cudaStream_t stream) { return stream ? stream : state().standard; }

bool spoils_capture() {
  bool spoils = false;
  for (auto& stream : state().streams) {
    if (!stream->capture) continue;
    stream->is_capture_spoilt = true;
    spoils = true;
  }
  return spoils;
}

void run_everything(bool blocking_only) {
  for (std::size_t i = 0; i < state().streams.size(); ++i) {
    Stream& stream = *state().streams[i];
    if (stream.is_blocking || !blocking_only) stream.run_all();
  }
}

cudaError_t enqueue(cudaStream_t stream, Operation operation) {
  Stream& to = *stream_of(stream);
  if (to.capture) {
    to.capture->operations.push_back(std::move(operation));
  } else {
    to.queue.push_back(std::move(operation));
  }
  return now_or_fatal();
}

}  // namespace unet::simt

using namespace unet::simt;

// --- streams and events ---

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  state().streams.push_back(std::make_unique<Stream>(!(flags & cudaStreamNonBlocking)));
  *stream = state().streams.back().get();
  return now_or_fatal();
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  auto& streams = state().streams;
  for (std::size_t i = 1; i < streams.size(); ++i) {
    if (streams[i].get() != stream) continue;
    stream->run_all();  // what is in it is still done
    streams.erase(streams.begin() + static_cast<std::ptrdiff_t>(i));
    return now_or_fatal();
  }
  return failed(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (spoils_capture()) return failed(cudaErrorStreamCaptureUnsupported);
  ++state().waits;
  stream_of(stream)->run_all();
  return now_or_fatal();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (stream_of(stream)->capture) return failed(cudaErrorStreamCaptureUnsupported);
  if (!event->mark) return now_or_fatal();
  return enqueue(stream, [mark = event->mark] {
    while (!mark->is_reached) mark->stream->run_one();
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!stream || stream->capture) return failed(cudaErrorStreamCaptureUnsupported);
  stream->capture = std::make_unique<Graph>();
  stream->is_capture_spoilt = false;
  return now_or_fatal();
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!stream || !stream->capture) return failed(cudaErrorInvalidValue);
  std::unique_ptr<Graph> captured = std::move(stream->capture);
  if (stream->is_capture_spoilt) return failed(cudaErrorStreamCaptureInvalidated);
  *graph = captured.release();
  return now_or_fatal();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new Event{!(flags & cudaEventDisableTiming), nullptr};
  return now_or_fatal();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Stream& in = *stream_of(stream);
  if (in.capture) return failed(cudaErrorStreamCaptureUnsupported);
  event->mark = std::make_shared<Mark>(Mark{&in});
  return enqueue(stream, [mark = event->mark] { mark->is_reached = true; });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const bool is_done = !event->mark || event->mark->is_reached;
  return is_done ? now_or_fatal() : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (spoils_capture()) return failed(cudaErrorStreamCaptureUnsupported);
  state().waits += event->mark && !event->mark->is_reached;
  while (event->mark && !event->mark->is_reached) event->mark->stream->run_one();
  return now_or_fatal();
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  for (const Event* event : {from, to}) {
    if (!event->takes_time || !event->mark) return failed(cudaErrorInvalidResourceHandle);
    if (!event->mark->is_reached) return failed(cudaErrorNotReady);
  }
  *milliseconds = std::numeric_limits<float>::quiet_NaN();
  return now_or_fatal();
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return now_or_fatal();
}

// --- graphs ---

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned) {
  if (!graph) return failed(cudaErrorInvalidValue);
  *exec = new Graph(*graph);
  return now_or_fatal();
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (!exec) return failed(cudaErrorInvalidValue);
  return enqueue(stream, [exec] {
    for (const Operation& operation : exec->operations) operation();
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  run_everything(false);
  delete exec;
  return now_or_fatal();
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return now_or_fatal();
}
