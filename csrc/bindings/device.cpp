// Memory of a device as numpy arrays, which nobody on the host may read: see device_array.py.
#include <pybind11/numpy.h>

#include "bindings/bind.h"
#include "core/device_event.h"
#include "core/device_graph.h"
#include "core/device_memory.h"
#include "core/error.h"

namespace unet {
namespace {

namespace py = pybind11;

// Bytes from the first to the last element of an array; its strides are not negative.
std::size_t spanned_bytes(const py::array& array) {
  py::ssize_t bytes = array.itemsize();
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    if (array.shape(axis) == 0) return 0;
    bytes += (array.shape(axis) - 1) * array.strides(axis);
  }
  return static_cast<std::size_t>(bytes);
}

void check_copy(const Context& ctx, const py::array& device, const py::array& host) {
  if (!device_memory(ctx.device).is_on_device(device.data())) {
    fail("device copy", "the array does not lie on the device");
  }
  if (!(host.flags() & py::array::c_style) ||
      spanned_bytes(device) != static_cast<std::size_t>(host.nbytes())) {
    fail("device copy", "the host's array must be dense and have " +
                            std::to_string(spanned_bytes(device)) + " bytes");
  }
}

// Memory that is given back with the last array over it.
struct Owned {
  const DeviceMemory& memory;
  int gpu;
  void* p;
  ~Owned() {
    memory.select(gpu);
    memory.release(p);
  }
};

// A recorded sequence of launches; empty until end().
class Graph {
 public:
  explicit Graph(const Context& ctx) : ctx_(ctx), graphs_(device_graphs(ctx.device)) {}
  ~Graph() {
    if (graph_ != nullptr) graphs_.release(graph_);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void begin() { graphs_.begin(ctx_); }
  void end() { graph_ = graphs_.end(ctx_); }
  void launch() {
    if (graph_ == nullptr) fail("DeviceGraph", "nothing has been recorded");
    device_memory(ctx_.device).select(ctx_.gpu);
    graphs_.launch(ctx_, graph_);
  }

 private:
  const Context ctx_;
  const DeviceGraphs& graphs_;
  void* graph_ = nullptr;
};

// A mark in the stream, made and recorded at once.
class Event {
 public:
  explicit Event(const Context& ctx) : ctx_(ctx), events_(device_events(ctx.device)) {
    device_memory(ctx.device).select(ctx.gpu);
    event_ = events_.create(ctx);
    events_.record(ctx, event_);
  }
  ~Event() { events_.release(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  double seconds_since(const Event& earlier) const {
    const py::gil_scoped_release release;
    device_memory(ctx_.device).select(ctx_.gpu);
    return events_.seconds(ctx_, earlier.event_, event_);
  }

 private:
  const Context ctx_;
  const DeviceEvents& events_;
  void* event_ = nullptr;
};

}  // namespace

void bind_device(py::module_& m) {
  m.def("device_zeros", [](const Context& ctx, std::size_t bytes) {
    const DeviceMemory& memory = device_memory(ctx.device);
    memory.select(ctx.gpu);
    void* const p = memory.allocate(bytes);
    const py::capsule owner(new Owned{memory, ctx.gpu, p},
                            [](void* owned) { delete static_cast<Owned*>(owned); });
    memory.clear(ctx, p, bytes);
    return py::array(py::dtype::of<std::uint8_t>(), {bytes}, {1}, p, owner);
  });
  m.def("device_upload", [](const Context& ctx, const py::array& to, const py::array& from) {
    check_copy(ctx, to, from);
    void* const p = const_cast<void*>(to.data());
    const auto bytes = static_cast<std::size_t>(from.nbytes());
    const void* const source = from.data();
    device_memory(ctx.device).select(ctx.gpu);
    device_memory(ctx.device).upload(ctx, p, source, bytes);
  });
  m.def("device_download", [](const Context& ctx, const py::array& from, py::array to) {
    check_copy(ctx, from, to);
    void* const p = to.mutable_data();
    const auto bytes = static_cast<std::size_t>(to.nbytes());
    const void* const source = from.data();
    py::gil_scoped_release release;
    device_memory(ctx.device).select(ctx.gpu);
    device_memory(ctx.device).download(ctx, p, source, bytes);
  });
  m.def("device_clear", [](const Context& ctx, const py::array& array) {
    device_memory(ctx.device).select(ctx.gpu);
    device_memory(ctx.device).clear(ctx, const_cast<void*>(array.data()), spanned_bytes(array));
  });
  py::class_<Graph>(m, "DeviceGraph")
      .def(py::init<const Context&>())
      .def("begin", &Graph::begin)
      .def("end", &Graph::end)
      .def("launch", &Graph::launch);
  py::class_<Event>(m, "DeviceEvent")
      .def(py::init<const Context&>())
      .def("seconds_since", &Event::seconds_since);
  m.def("device_wait", [](const Context& ctx) {
    const py::gil_scoped_release release;
    device_memory(ctx.device).select(ctx.gpu);
    device_memory(ctx.device).wait(ctx);
  });
  m.def("device_room", [](const Context& ctx) {
    std::size_t free = 0, total = 0;
    device_memory(ctx.device).select(ctx.gpu);
    device_memory(ctx.device).room(free, total);
    return py::make_tuple(free, total);
  });
}

}  // namespace unet
