#include "ops/relu.h"

#include "bindings/arrays.h"
#include "bindings/bind.h"

namespace unet {

void bind_relu(py::module_& m) {
  m.def("relu_forward", [](const Context& ctx, const py::array& bottom, float negative_slope,
                           const py::array& top) {
    const auto bottom_view = view_of<const float>(bottom, "bottom");
    const auto top_view = view_of<float>(top, "top");
    py::gil_scoped_release release;
    relu_forward(ctx, bottom_view, negative_slope, top_view);
  });
  m.def("relu_backward", [](const Context& ctx, const py::array& data, const py::array& top_diff,
                            float negative_slope, const py::array& bottom_diff) {
    const auto data_view = view_of<const float>(data, "data");
    const auto top_diff_view = view_of<const float>(top_diff, "top_diff");
    const auto bottom_diff_view = view_of<float>(bottom_diff, "bottom_diff");
    py::gil_scoped_release release;
    relu_backward(ctx, data_view, top_diff_view, negative_slope, bottom_diff_view);
  });
}

}  // namespace unet
