// How the SIMT runtime runs kernels, and what it found; in builds with UNET_NATIVE_SIMT only.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <utility>

#include "bindings/bind.h"
#include "core/error.h"
#include "simt/counters.h"
#include "simt/cuda_runtime.h"
#include "simt/finding.h"
#include "simt/memory.h"
#include "simt/recording.h"
#include "simt/runtime_state.h"

namespace unet {

namespace py = pybind11;

void bind_simt(py::module_& m) {
  m.def(
      "simt_options",
      [](const std::string& schedule, std::uint64_t seed, bool eager_copies, bool count) {
        const std::string names[] = {"first", "last", "reverse", "random"};
        for (int i = 0; i < 4; ++i) {
          if (schedule != names[i]) continue;
          simt::machine().options.schedule = static_cast<simt::Schedule>(i);
          simt::machine().options.seed = seed;
          simt::machine().options.eager_copies = eager_copies;
          simt::machine().options.count = count;
          return;
        }
        fail("simt_options", "unknown schedule \"" + schedule + "\"");
      },
      py::arg("schedule") = "first", py::arg("seed") = 1, py::arg("eager_copies") = false,
      py::arg("count") = false);
  m.def("simt_memory", [](std::size_t bytes) { simt::device_memory().total = bytes; });
  m.def("simt_counts", [] {
    py::dict counts;
    counts["allocations"] = simt::device_memory().allocations;
    counts["launches"] = simt::machine().statistics.launches;
    counts["waits"] = simt::state().waits;
    return counts;
  });
  m.def(
      "simt_device",
      [](int capability, int multiprocessors) {
        if (!simt::pretend_device(capability, multiprocessors)) {
          fail("simt_device", "no device of capability " + std::to_string(capability) + " with " +
                                  std::to_string(multiprocessors) + " multiprocessors");
        }
      },
      py::arg("capability") = 80, py::arg("multiprocessors") = 3);
  // Since the last call: {name of a launch: blocks}.
  m.def("simt_blocks", [] { return std::exchange(simt::machine().statistics.blocks_of, {}); });
  // Since the last call, of launches of the checked device with the option `count`: (where, is
  // shared, is write, bytes of a lane, requests, cost, ideal), see simt/counters.h.
  m.def("simt_traffic", [] {
    py::list traffic;
    for (const simt::Traffic& t : simt::take_traffic()) {
      traffic.append(py::make_tuple(t.where, t.is_shared, t.access == simt::Access::kWrite, t.bytes,
                                    t.requests, t.cost, t.ideal));
    }
    return traffic;
  });
  m.def("simt_record", [](const std::string& path) {
    if (!simt::record_launches(path)) fail("simt_record", "cannot write \"" + path + "\"");
  });
  m.def("simt_findings", [] {
    py::list findings;
    for (const simt::Finding& f : simt::take_findings()) {
      findings.append(py::make_tuple(f.kind, f.where, f.text));
    }
    simt::reset_device();
    return findings;
  });
}

}  // namespace unet
