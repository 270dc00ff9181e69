#include "ops/softmax.h"

#include "bindings/arrays.h"
#include "bindings/bind.h"

namespace unet {

void bind_softmax(py::module_& m) {
  m.def("softmax_forward", [](const Context& ctx, const py::array& bottom, const py::array& top) {
    const auto bottom_view = view_of<const float>(bottom, "bottom");
    const auto top_view = view_of<float>(top, "top");
    py::gil_scoped_release release;
    softmax_forward(ctx, bottom_view, top_view);
  });
  m.def("softmax_backward", [](const Context& ctx, const py::array& top, const py::array& top_diff,
                               const py::array& bottom_diff) {
    const auto top_view = view_of<const float>(top, "top");
    const auto top_diff_view = view_of<const float>(top_diff, "top_diff");
    const auto bottom_diff_view = view_of<float>(bottom_diff, "bottom_diff");
    py::gil_scoped_release release;
    softmax_backward(ctx, top_view, top_diff_view, bottom_diff_view);
  });
}

}  // namespace unet
