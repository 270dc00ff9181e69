#include "ops/max_pool2x2.h"

#include "bindings/bind.h"
#include "bindings/staging.h"

namespace unet {

void bind_max_pool2x2(py::module_& m) {
  m.def("max_pool2x2_forward",
        [](const Context& ctx, const py::array& bottom, const py::array& top) {
          Arguments arguments(ctx);
          const auto bottom_view = arguments.view<const float>(bottom, "bottom");
          const auto top_view = arguments.view<float>(top, "top");
          arguments.run([=] { max_pool2x2_forward(ctx, bottom_view, top_view); });
        });
  m.def("max_pool2x2_backward",
        [](const Context& ctx, const py::array& bottom, const py::array& top_diff, bool accumulate,
           const py::object& skip_diff, std::pair<int, int> skip_offset,
           std::optional<float> negative_slope, const py::array& bottom_diff) {
          Arguments arguments(ctx);
          const auto bottom_view = arguments.view<const float>(bottom, "bottom");
          const auto top_diff_view = arguments.view<const float>(top_diff, "top_diff");
          SkipDiff skip;
          if (!skip_diff.is_none()) {
            const auto array = py::cast<py::array>(skip_diff);
            skip = {arguments.view<const float>(array, "skip_diff"), skip_offset.first,
                    skip_offset.second};
          }
          const FusedRelu relu{negative_slope.has_value(), negative_slope.value_or(0.0f)};
          const auto bottom_diff_view = arguments.view<float>(bottom_diff, "bottom_diff");
          arguments.run([=] {
            max_pool2x2_backward(ctx, bottom_view, top_diff_view, accumulate, skip, relu,
                                 bottom_diff_view);
          });
        });
}

}  // namespace unet
