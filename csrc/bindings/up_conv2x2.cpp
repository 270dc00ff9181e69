#include "ops/up_conv2x2.h"

#include "bindings/bind.h"
#include "bindings/pass.h"
#include "bindings/staging.h"

namespace unet {

void bind_up_conv2x2(py::module_& m) {
  m.def("up_conv2x2_forward", [](const Context& ctx, const py::array& bottom,
                                 const py::array& weight, const py::object& bias,
                                 std::optional<float> negative_slope, const py::object& workspace,
                                 const py::array& top) {
    Arguments arguments(ctx);
    const auto bottom_view = arguments.view<const float>(bottom, "bottom");
    const auto weight_view = arguments.filter<const float>(weight, "weight");
    const auto bias_span = arguments.span<const float>(bias, "bias");
    const auto workspace_span = arguments.span<float>(workspace, "workspace");
    const auto top_view = arguments.view<float>(top, "top");
    const FusedRelu relu{negative_slope.has_value(), negative_slope.value_or(0.0f)};
    arguments.run([=] {
      up_conv2x2_forward(ctx, bottom_view, weight_view, bias_span, relu, workspace_span, top_view);
    });
  });
  m.def("up_conv2x2_backward_data", [](const Context& ctx, const py::array& top_diff,
                                       const py::array& weight, const py::object& workspace,
                                       const py::array& bottom_diff) {
    Arguments arguments(ctx);
    const auto top_diff_view = arguments.view<const float>(top_diff, "top_diff");
    const auto weight_view = arguments.filter<const float>(weight, "weight");
    const auto workspace_span = arguments.span<float>(workspace, "workspace");
    const auto bottom_diff_view = arguments.view<float>(bottom_diff, "bottom_diff");
    arguments.run([=] {
      up_conv2x2_backward_data(ctx, top_diff_view, weight_view, workspace_span, bottom_diff_view);
    });
  });
  m.def("up_conv2x2_backward_weights",
        [](const Context& ctx, const py::array& bottom, const py::array& top_diff, bool accumulate,
           const py::object& workspace, const py::array& weight_diff, const py::object& bias_diff) {
          Arguments arguments(ctx);
          const auto bottom_view = arguments.view<const float>(bottom, "bottom");
          const auto top_diff_view = arguments.view<const float>(top_diff, "top_diff");
          const auto workspace_span = arguments.span<float>(workspace, "workspace");
          const auto weight_diff_view = arguments.filter<float>(weight_diff, "weight_diff");
          const auto bias_diff_span = arguments.span<float>(bias_diff, "bias_diff");
          arguments.run([=] {
            up_conv2x2_backward_weights(ctx, bottom_view, top_diff_view, accumulate, workspace_span,
                                        weight_diff_view, bias_diff_span);
          });
        });
  m.def("up_conv2x2_workspace_bytes", [](const Context& ctx, int n, int ic, int h, int w, int oc,
                                         const std::string& direction) {
    return up_conv2x2_workspace(ctx, {n, ic, h, w, oc}, pass_from_name("up_conv2x2", direction)) *
           static_cast<std::ptrdiff_t>(sizeof(float));
  });
}

}  // namespace unet
