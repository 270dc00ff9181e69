#include "ops/relu.h"

#include "bindings/bind.h"
#include "bindings/staging.h"

namespace unet {

void bind_relu(py::module_& m) {
  m.def("relu_forward", [](const Context& ctx, const py::array& bottom, float negative_slope,
                           const py::array& top) {
    Arguments arguments(ctx);
    const auto bottom_view = arguments.view<const float>(bottom, "bottom");
    const auto top_view = arguments.view<float>(top, "top");
    arguments.run([=] { relu_forward(ctx, bottom_view, negative_slope, top_view); });
  });
  m.def("relu_backward", [](const Context& ctx, const py::array& data, const py::array& top_diff,
                            float negative_slope, const py::array& bottom_diff) {
    Arguments arguments(ctx);
    const auto data_view = arguments.view<const float>(data, "data");
    const auto top_diff_view = arguments.view<const float>(top_diff, "top_diff");
    const auto bottom_diff_view = arguments.view<float>(bottom_diff, "bottom_diff");
    arguments.run(
        [=] { relu_backward(ctx, data_view, top_diff_view, negative_slope, bottom_diff_view); });
  });
}

}  // namespace unet
