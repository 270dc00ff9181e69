#include "bindings/host_graph.h"

#include <chrono>

#include "bindings/bind.h"
#include "core/error.h"

namespace unet {

namespace py = pybind11;

thread_local HostGraph* HostGraph::recording_ = nullptr;

HostGraph::~HostGraph() {
  if (recording_ == this) recording_ = nullptr;
}

void HostGraph::begin() {
  if (recording_ != nullptr) fail("HostGraph", "this thread is recording already");
  if (is_ready_) fail("HostGraph", "it has been recorded");
  calls_.clear();  // of a recording that was refused
  owners_.clear();
  recording_ = this;
}

void HostGraph::end() {
  if (recording_ != this) fail("HostGraph", "it is not being recorded");
  recording_ = nullptr;
  for (const py::weakref& owner : owners_) {
    if (owner().is_none()) {
      fail("HostGraph", "a call uses an array that was made for it and is gone");
    }
  }
  owners_.clear();
  is_ready_ = true;
}

void HostGraph::note(const py::array& array) {
  py::object owner = array;
  while (py::isinstance<py::array>(owner.attr("base"))) owner = owner.attr("base");
  owners_.emplace_back(owner);
}

void HostGraph::launch() const {
  using Clock = std::chrono::steady_clock;
  constexpr auto kPatience = std::chrono::milliseconds(50);
  if (!is_ready_) fail("HostGraph", "nothing has been recorded");
  if (recording_ != nullptr) fail("HostGraph", "this thread is recording");
  const py::gil_scoped_release release;
  auto asked = Clock::now();
  for (const auto& call : calls_) {
    call();
    if (const auto now = Clock::now(); now - asked > kPatience) {
      asked = now;
      const py::gil_scoped_acquire acquire;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();  // Ctrl-C
    }
  }
}

void bind_host_graph(py::module_& m) {
  py::class_<HostGraph>(m, "HostGraph")
      .def(py::init<>())
      .def("begin", &HostGraph::begin)
      .def("end", &HostGraph::end)
      .def("launch", &HostGraph::launch);
}

}  // namespace unet
