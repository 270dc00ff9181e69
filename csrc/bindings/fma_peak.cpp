#include "ops/fma_peak.h"

#include "bindings/arrays.h"
#include "bindings/bind.h"

namespace unet {

void bind_fma_peak(py::module_& m) {
  m.def("fma_peak", [](const Context& ctx, int rounds) {
    py::gil_scoped_release release;
    return fma_peak(ctx, rounds);
  });
}

}  // namespace unet
