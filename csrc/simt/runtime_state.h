// What the calls of the runtime API (cuda_runtime.h) share: streams as queues, and what went wrong.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "simt/cuda_runtime.h"

namespace unet::simt {

using Operation = std::function<void()>;

struct Graph {
  std::vector<Operation> operations;
};

// Where in a stream an event was recorded.
struct Mark {
  Stream* stream;
  bool is_reached = false;
};

struct Event {
  const bool takes_time;
  std::shared_ptr<Mark> mark;
};

class Stream {
 public:
  explicit Stream(bool is_blocking) : is_blocking(is_blocking) {}
  void run_one() {
    Operation operation = std::move(queue.front());
    queue.pop_front();
    operation();
  }
  void run_all() {
    while (!queue.empty()) run_one();
  }
  const bool is_blocking;  // waited for by what goes without a stream
  std::deque<Operation> queue;
  std::unique_ptr<Graph> capture;
  bool is_capture_spoilt = false;
};

struct RuntimeState {
  std::vector<std::unique_ptr<Stream>> streams;
  Stream* standard = nullptr;  // what "no stream" means
  std::map<const char*, std::size_t> pinned;
  std::map<const void*, std::size_t> shared_limit;  // of kernels that asked for more
  cudaError_t last = cudaSuccess, fatal = cudaSuccess;
  long waits = 0;  // of the host for the device, so far

  RuntimeState() {
    streams.push_back(std::make_unique<Stream>(true));
    standard = streams.back().get();
  }
};

RuntimeState& state();

// Remembers an error for cudaGetLastError, and returns it.
cudaError_t failed(cudaError_t error);

// Success, or the error that the device has not survived.
cudaError_t now_or_fatal();

Stream* stream_of(cudaStream_t stream);

// What may not happen while a stream is captured spoils the capture, as on the device.
bool spoils_capture();

void run_everything(bool blocking_only);

// Puts an operation into a stream, or into the graph that it is captured for.
cudaError_t enqueue(cudaStream_t stream, Operation operation);

}  // namespace unet::simt
