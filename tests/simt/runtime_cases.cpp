// The runtime API of the SIMT runtime: does it refuse what CUDA refuses, and is it lazy?
//
//   runtime_cases CASE     prints "right" or what went wrong
//   runtime_cases          lists the cases
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "cuda/language.h"
#include "simt/memory.h"

namespace unet::UNET_GPU {
namespace {

constexpr int kCount = 64;
constexpr std::size_t kBytes = kCount * sizeof(float);

__global__ void add(float* x, float by) { x[threadIdx.x] += by; }

cudaError_t add_to(float* x, float by, cudaStream_t stream) {
  return launch("add", add, 1, kCount, 0, stream, x, by);
}

// A device array of zeros, a pinned array of ones and a stream that nothing else waits for.
struct Things {
  float *x, *pinned;
  cudaStream_t stream;
  Things() {
    cudaMalloc(reinterpret_cast<void**>(&x), kBytes);
    cudaMallocHost(reinterpret_cast<void**>(&pinned), kBytes);
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    cudaMemset(x, 0, kBytes);
    cudaDeviceSynchronize();
    for (int i = 0; i < kCount; ++i) pinned[i] = 1;
  }
  float first() const {
    float value;
    cudaMemcpy(&value, x, sizeof value, cudaMemcpyDeviceToHost);
    return value;
  }
};

std::string expect(bool condition, const char* what) { return condition ? "" : what; }

std::string is(cudaError_t found, cudaError_t expected) {
  if (found == expected) return "";
  return std::string(cudaGetErrorName(found)) + " instead of " + cudaGetErrorName(expected);
}

std::string results_are_there_after_waiting() {
  Things t;
  add_to(t.x, 2, t.stream);
  cudaStreamSynchronize(t.stream);
  return expect(t.first() == 2, "the kernel has not run");
}

std::string results_are_not_there_before() {
  Things t;
  add_to(t.x, 2, t.stream);
  return expect(t.first() == 0, "the kernel ran before anybody waited");
}

std::string the_standard_stream_is_waited_for() {
  Things t;
  add_to(t.x, 2, nullptr);
  return expect(t.first() == 2, "a blocking copy did not wait for the standard stream");
}

std::string pinned_memory_is_read_late() {
  Things t;
  cudaMemcpyAsync(t.x, t.pinned, kBytes, cudaMemcpyHostToDevice, t.stream);
  t.pinned[0] = 5;  // a bug of the host, which must show
  cudaStreamSynchronize(t.stream);
  return expect(t.first() == 5, "the copy was made at once");
}

std::string pageable_memory_is_refused() {
  Things t;
  std::vector<float> pageable(kCount);
  const auto to = cudaMemcpyAsync(t.x, pageable.data(), kBytes, cudaMemcpyHostToDevice, t.stream);
  const auto from = cudaMemcpyAsync(pageable.data(), t.x, kBytes, cudaMemcpyDeviceToHost, t.stream);
  return is(to, cudaErrorInvalidValue) + is(from, cudaErrorInvalidValue);
}

std::string wrong_kinds_of_copies_are_refused() {
  Things t;
  const auto swapped = cudaMemcpy(t.pinned, t.x, kBytes, cudaMemcpyHostToDevice);
  const auto too_long = cudaMemcpy(t.x, t.pinned, 2 * kBytes, cudaMemcpyHostToDevice);
  return is(swapped, cudaErrorInvalidValue) + is(too_long, cudaErrorInvalidValue);
}

std::string events_order_streams() {
  Things t;
  cudaStream_t other;
  cudaEvent_t event;
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  cudaMemcpyAsync(t.x, t.pinned, kBytes, cudaMemcpyHostToDevice, other);
  cudaEventRecord(event, other);
  const auto pending = cudaEventQuery(event);
  cudaStreamWaitEvent(t.stream, event);
  add_to(t.x, 2, t.stream);
  cudaStreamSynchronize(t.stream);
  return is(pending, cudaErrorNotReady) + is(cudaEventQuery(event), cudaSuccess) +
         expect(t.first() == 3, "the streams were not ordered");
}

std::string no_time_passes_between_events() {
  Things t;
  cudaEvent_t begin, end, timeless;
  cudaEventCreateWithFlags(&begin, 0);
  cudaEventCreateWithFlags(&end, 0);
  cudaEventCreateWithFlags(&timeless, cudaEventDisableTiming);
  float milliseconds = 0;
  const auto never = cudaEventElapsedTime(&milliseconds, begin, end);
  for (cudaEvent_t event : {begin, timeless, end}) cudaEventRecord(event, t.stream);
  const auto early = cudaEventElapsedTime(&milliseconds, begin, end);
  cudaStreamSynchronize(t.stream);
  const auto measured = cudaEventElapsedTime(&milliseconds, begin, end);
  return is(never, cudaErrorInvalidResourceHandle) + is(early, cudaErrorNotReady) +
         is(cudaEventElapsedTime(&milliseconds, timeless, end), cudaErrorInvalidResourceHandle) +
         is(measured, cudaSuccess) + expect(std::isnan(milliseconds), "there was a time");
}

std::string streams_without_events_are_not_ordered() {
  Things t;
  cudaStream_t other;
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  cudaMemcpyAsync(t.x, t.pinned, kBytes, cudaMemcpyHostToDevice, other);
  add_to(t.x, 2, t.stream);
  cudaStreamSynchronize(t.stream);
  return expect(t.first() == 2, "waiting for one stream ran another");
}

std::string graphs_replay() {
  Things t;
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  cudaStreamBeginCapture(t.stream, cudaStreamCaptureModeGlobal);
  add_to(t.x, 2, t.stream);
  cudaMemcpyAsync(t.pinned, t.x, kBytes, cudaMemcpyDeviceToHost, t.stream);
  cudaStreamEndCapture(t.stream, &graph);
  const bool ran_while_captured = t.first() != 0;
  cudaGraphInstantiate(&exec, graph);
  cudaGraphDestroy(graph);
  for (int i = 0; i < 3; ++i) cudaGraphLaunch(exec, t.stream);
  cudaStreamSynchronize(t.stream);
  return expect(!ran_while_captured, "a captured kernel ran") +
         expect(t.pinned[0] == 6, "the graph did not run three times") +
         is(cudaGraphExecDestroy(exec), cudaSuccess);
}

// `call` while a stream is captured.
std::string spoils_the_capture(cudaError_t (*call)(Things&)) {
  Things t;
  cudaGraph_t graph;
  cudaStreamBeginCapture(t.stream, cudaStreamCaptureModeGlobal);
  add_to(t.x, 2, t.stream);
  const auto refused = call(t);
  const auto ended = cudaStreamEndCapture(t.stream, &graph);
  return is(refused, cudaErrorStreamCaptureUnsupported) +
         is(ended, cudaErrorStreamCaptureInvalidated) + expect(!graph, "there is a graph");
}

std::string allocation_spoils_a_capture() {
  return spoils_the_capture([](Things&) {
    void* more;
    return cudaMalloc(&more, kBytes);
  });
}

std::string freeing_spoils_a_capture() {
  return spoils_the_capture([](Things& t) { return cudaFree(t.x); });
}

std::string waiting_spoils_a_capture() {
  return spoils_the_capture([](Things& t) { return cudaStreamSynchronize(t.stream); });
}

std::string a_blocking_copy_spoils_a_capture() {
  return spoils_the_capture(
      [](Things& t) { return cudaMemcpy(t.pinned, t.x, kBytes, cudaMemcpyDeviceToHost); });
}

__global__ void touch_last(float* x, int bytes) {
  auto* shared = &shared_memory<float>();
  shared[bytes / 4 - 1] = 1;
  x[0] = shared[bytes / 4 - 1];
}

std::string shared_memory_must_be_asked_for() {
  Things t;
  const int bytes = 100 << 10;
  const auto unasked =
      simt::launch_kernel("touch_last", touch_last, 1, 1, bytes, nullptr, t.x, bytes);
  const auto asked = launch("touch_last", touch_last, 1, 1, bytes, nullptr, t.x, bytes);
  const auto too_much = launch("touch_last", touch_last, 1, 1, 200 << 10, nullptr, t.x, bytes);
  return is(unasked, cudaErrorInvalidValue) + is(asked, cudaSuccess) +
         is(too_much, cudaErrorInvalidValue) + expect(t.first() == 1, "it did not run");
}

std::string launches_have_limits() {
  Things t;
  const auto threads = launch("add", add, 1, 1025, 0, nullptr, t.x, 1.0f);
  const auto none = launch("add", add, 0, 32, 0, nullptr, t.x, 1.0f);
  const auto rows = launch("add", add, dim3(1, 65536), 32, 0, nullptr, t.x, 1.0f);
  return is(threads, cudaErrorInvalidConfiguration) + is(none, cudaErrorInvalidConfiguration) +
         is(rows, cudaErrorInvalidConfiguration);
}

std::string memory_ends() {
  void* p = nullptr;
  simt::device_memory().total = 1 << 20;
  const auto much = cudaMalloc(&p, 2 << 20), some = cudaMalloc(&p, 1 << 19);
  std::size_t free, total;
  cudaMemGetInfo(&free, &total);
  return is(much, cudaErrorMemoryAllocation) + is(some, cudaSuccess) +
         expect(free == 1 << 19 && total == 1 << 20, "the memory that is left is wrong");
}

std::string a_wrong_pointer_is_not_freed() {
  Things t;
  return is(cudaFree(t.x + 1), cudaErrorInvalidValue) + is(cudaFree(t.x), cudaSuccess) +
         is(cudaFreeHost(t.x), cudaErrorInvalidValue) + is(cudaFree(nullptr), cudaSuccess);
}

__global__ void hang(float* x) {
  if (threadIdx.x == 0) {
    __syncwarp();
  } else {
    __syncthreads();
  }
  x[0] = 1;
}

std::string a_failed_kernel_ends_the_context() {
  Things t;
  launch("hang", hang, 1, 32, 0, t.stream, t.x);
  const auto first = cudaStreamSynchronize(t.stream), later = cudaDeviceSynchronize();
  simt::reset_device();
  return is(first, cudaErrorLaunchFailure) + is(later, cudaErrorLaunchFailure) +
         is(cudaDeviceSynchronize(), cudaSuccess);
}

const std::map<std::string, std::string (*)()> kCases = {
    {"results are there after waiting", results_are_there_after_waiting},
    {"results are not there before", results_are_not_there_before},
    {"the standard stream is waited for", the_standard_stream_is_waited_for},
    {"pinned memory is read late", pinned_memory_is_read_late},
    {"pageable memory is refused", pageable_memory_is_refused},
    {"wrong kinds of copies are refused", wrong_kinds_of_copies_are_refused},
    {"events order streams", events_order_streams},
    {"no time passes between events", no_time_passes_between_events},
    {"streams without events are not ordered", streams_without_events_are_not_ordered},
    {"graphs replay", graphs_replay},
    {"allocation spoils a capture", allocation_spoils_a_capture},
    {"freeing spoils a capture", freeing_spoils_a_capture},
    {"waiting spoils a capture", waiting_spoils_a_capture},
    {"a blocking copy spoils a capture", a_blocking_copy_spoils_a_capture},
    {"shared memory must be asked for", shared_memory_must_be_asked_for},
    {"launches have limits", launches_have_limits},
    {"memory ends", memory_ends},
    {"a wrong pointer is not freed", a_wrong_pointer_is_not_freed},
    {"a failed kernel ends the context", a_failed_kernel_ends_the_context},
};

}  // namespace
}  // namespace unet::UNET_GPU

int main(int count, char** arguments) {
  using unet::UNET_GPU::kCases;
  if (count < 2) {
    for (const auto& [name, run] : kCases) std::puts(name.c_str());
    return 0;
  }
  const std::string complaint = kCases.at(arguments[1])();
  std::puts(complaint.empty() ? "right" : complaint.c_str());
}
