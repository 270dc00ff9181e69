// Calls of ops on the CPU, recorded once and launched as a whole: what a CUDA graph is on a GPU.
//
// Between two ops of a network Python takes 5 us. After an op that has streamed megabytes through
// the caches it takes 60 to 130 us, for its own objects are no longer there, and meanwhile the
// core's threads fall asleep. A launch goes from one op to the next in 2 to 5.
//
//   graph.begin();
//   ... calls of ops on the CPU, from this thread: they are kept and do not run
//   graph.end();
//   graph.launch();  // runs them all, as often as wanted
//
// What changes from launch to launch must lie in memory that the calls read. Arrays must stay where
// they are as long as the graph is launched; one made between begin() and end(), a copy of an
// argument say, would be gone, and end() refuses it.
#pragma once

#include <pybind11/numpy.h>

#include <functional>
#include <utility>
#include <vector>

namespace unet {

class HostGraph {
 public:
  // The one that this thread records into, or null.
  static HostGraph* recording() { return recording_; }

  HostGraph() = default;
  ~HostGraph();
  HostGraph(const HostGraph&) = delete;
  HostGraph& operator=(const HostGraph&) = delete;

  void begin();
  void end();
  void launch() const;

  void add(std::function<void()> call) { calls_.push_back(std::move(call)); }
  // Notes that a call reads or writes `array`.
  void note(const pybind11::array& array);

 private:
  static thread_local HostGraph* recording_;

  std::vector<std::function<void()>> calls_;
  std::vector<pybind11::weakref> owners_;  // of the arrays' memory, until end()
  bool is_ready_ = false;
};

}  // namespace unet
