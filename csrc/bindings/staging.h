// Host arrays as arguments of an op that runs on a device: they are copied there before the call,
// and what it may have written is copied back after it. Arrays over memory of the device are taken
// as they are. On the CPU nothing is copied; a thread that records keeps the call (host_graph.h).
#pragma once

#include <pybind11/numpy.h>

#include <memory>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/host_graph.h"
#include "core/device_memory.h"

namespace unet {

class Arguments {
 public:
  explicit Arguments(const Context& ctx)
      : ctx_(ctx), graph_(ctx.device == Device::kCpu ? HostGraph::recording() : nullptr) {}

  template <class T>
  BasicView<T> view(const py::array& array, const char* name) {
    auto view = view_of<T>(array, name);
    view.data = placed(array, view.data);
    return view;
  }

  template <class T>
  BasicFilter<T> filter(const py::array& array, const char* name) {
    auto filter = filter_of<T>(array, name);
    filter.data = placed(array, filter.data);
    return filter;
  }

  template <class T>
  BasicSpan<T> span(const py::object& object, const char* name) {
    auto span = span_of<T>(object, name);
    if (span.size > 0) {
      span.data = placed(py::reinterpret_borrow<py::array>(object), span.data);
    }
    return span;
  }

  // Calls the op, without Python's lock; or has the graph that this thread records keep the call,
  // which therefore holds all that it needs.
  template <class Call>
  void run(Call call) {
    if (graph_ != nullptr) {
      graph_->add(std::move(call));
      return;
    }
    const py::gil_scoped_release release;
    call();
    finish();
  }

 private:
  // Waits for the call and copies back.
  void finish() {
    for (const auto& staged : staged_) {
      if (staged->is_written) {
        device_memory(ctx_.device).download(ctx_, staged->host, staged->device, staged->bytes);
      }
    }
  }

  // The memory behind an array and all views of it, and its copy on the device.
  struct Staged {
    char* host;
    std::size_t bytes;
    char* device;
    bool is_written = false;
    const DeviceMemory& memory;
    ~Staged() { memory.release(device); }
  };

  // Where `data`, within `array`, lies for the device.
  template <class T>
  T* placed(const py::array& array, T* data) {
    if (graph_ != nullptr) graph_->note(array);
    if (ctx_.device == Device::kCpu || device_memory(ctx_.device).is_on_device(data)) return data;
    const auto [begin, bytes] = owner_of(array);
    Staged& staged = stage(begin, bytes);
    staged.is_written |= !std::is_const_v<T>;
    return reinterpret_cast<T*>(staged.device +
                                (reinterpret_cast<const char*>(data) - staged.host));
  }

  Staged& stage(char* begin, std::size_t bytes) {
    for (const auto& staged : staged_) {
      if (staged->host == begin && staged->bytes == bytes) return *staged;
    }
    const DeviceMemory& memory = device_memory(ctx_.device);
    auto* device = static_cast<char*>(memory.allocate(bytes));
    staged_.push_back(std::unique_ptr<Staged>(new Staged{begin, bytes, device, false, memory}));
    memory.upload(ctx_, device, begin, bytes);
    return *staged_.back();
  }

  // The dense memory that an array, perhaps by way of other views, is a view of.
  static std::pair<char*, std::size_t> owner_of(py::array array) {
    while (array.base() && py::isinstance<py::array>(array.base())) {
      array = py::reinterpret_borrow<py::array>(array.base());
    }
    return {static_cast<char*>(const_cast<void*>(array.data())),
            static_cast<std::size_t>(array.nbytes())};
  }

  const Context& ctx_;
  HostGraph* const graph_;
  std::vector<std::unique_ptr<Staged>> staged_;
};

}  // namespace unet
