#include "ops/softmax.h"

#include "bindings/bind.h"
#include "bindings/staging.h"

namespace unet {

void bind_softmax(py::module_& m) {
  m.def("softmax_forward", [](const Context& ctx, const py::array& bottom, const py::array& top) {
    Arguments arguments(ctx);
    const auto bottom_view = arguments.view<const float>(bottom, "bottom");
    const auto top_view = arguments.view<float>(top, "top");
    arguments.run([=] { softmax_forward(ctx, bottom_view, top_view); });
  });
  m.def("softmax_backward", [](const Context& ctx, const py::array& top, const py::array& top_diff,
                               const py::array& bottom_diff) {
    Arguments arguments(ctx);
    const auto top_view = arguments.view<const float>(top, "top");
    const auto top_diff_view = arguments.view<const float>(top_diff, "top_diff");
    const auto bottom_diff_view = arguments.view<float>(bottom_diff, "bottom_diff");
    arguments.run([=] { softmax_backward(ctx, top_view, top_diff_view, bottom_diff_view); });
  });
}

}  // namespace unet
