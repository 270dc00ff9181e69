#include "ops/conv3x3.h"

#include "bindings/bind.h"
#include "bindings/pass.h"
#include "bindings/relu_of_bottom.h"
#include "bindings/staging.h"

namespace unet {
namespace {

Algorithm algorithm_from_name(const std::string& name) {
  if (name == "auto") return Algorithm::kAuto;
  if (name == "direct") return Algorithm::kDirect;
  if (name == "winograd") return Algorithm::kWinograd;
  if (name == "winograd-4x4") return Algorithm::kWinograd4x4;
  if (name == "winograd-6x6") return Algorithm::kWinograd6x6;
  fail("conv3x3",
       "unknown algorithm \"" + name +
           "\": use \"auto\", \"direct\", \"winograd\", \"winograd-4x4\" or \"winograd-6x6\"");
}

// `second`: the other part of the bottom, or None.
ConcatView concat_of(Arguments& arguments, const py::array& bottom, const py::object& second) {
  const auto first_view = arguments.view<const float>(bottom, "bottom");
  if (second.is_none()) return first_view;
  if (!py::isinstance<py::array>(second)) refuse("bottom", "expected arrays as its parts");
  const auto second_array = py::reinterpret_borrow<py::array>(second);
  return {first_view, arguments.view<const float>(second_array, "the second part of bottom")};
}

}  // namespace

void bind_conv3x3(py::module_& m) {
  m.def("conv3x3_forward",
        [](const Context& ctx, const py::array& bottom, const py::object& second,
           const py::array& weight, const py::object& bias, std::optional<float> negative_slope,
           const std::string& algorithm, const py::object& workspace, const py::array& top) {
          Arguments arguments(ctx);
          const auto bottom_view = concat_of(arguments, bottom, second);
          const auto weight_view = arguments.filter<const float>(weight, "weight");
          const auto bias_span = arguments.span<const float>(bias, "bias");
          const auto workspace_span = arguments.span<float>(workspace, "workspace");
          const auto top_view = arguments.view<float>(top, "top");
          const FusedRelu relu{negative_slope.has_value(), negative_slope.value_or(0.0f)};
          const Algorithm chosen = algorithm_from_name(algorithm);
          arguments.run([=] {
            conv3x3_forward(ctx, bottom_view, weight_view, bias_span, relu, chosen, workspace_span,
                            top_view);
          });
        });
  m.def("conv3x3_backward_data",
        [](const Context& ctx, const py::array& top_diff, const py::array& weight,
           const py::object& bottom, float negative_slope, const std::string& algorithm,
           const py::object& workspace, const py::array& bottom_diff) {
          Arguments arguments(ctx);
          const auto top_diff_view = arguments.view<const float>(top_diff, "top_diff");
          const auto weight_view = arguments.filter<const float>(weight, "weight");
          const ReluOfBottom relu = relu_of_bottom(arguments, bottom, negative_slope);
          const auto workspace_span = arguments.span<float>(workspace, "workspace");
          const auto bottom_diff_view = arguments.view<float>(bottom_diff, "bottom_diff");
          const Algorithm chosen = algorithm_from_name(algorithm);
          arguments.run([=] {
            conv3x3_backward_data(ctx, top_diff_view, weight_view, relu, chosen, workspace_span,
                                  bottom_diff_view);
          });
        });
  m.def("conv3x3_backward_weights",
        [](const Context& ctx, const py::array& bottom, const py::object& second,
           const py::array& top_diff, const std::string& algorithm, bool accumulate,
           const py::object& workspace, const py::array& weight_diff, const py::object& bias_diff) {
          Arguments arguments(ctx);
          const auto bottom_view = concat_of(arguments, bottom, second);
          const auto top_diff_view = arguments.view<const float>(top_diff, "top_diff");
          const auto workspace_span = arguments.span<float>(workspace, "workspace");
          const auto weight_diff_view = arguments.filter<float>(weight_diff, "weight_diff");
          const auto bias_diff_span = arguments.span<float>(bias_diff, "bias_diff");
          const Algorithm chosen = algorithm_from_name(algorithm);
          arguments.run([=] {
            conv3x3_backward_weights(ctx, bottom_view, top_diff_view, chosen, accumulate,
                                     workspace_span, weight_diff_view, bias_diff_span);
          });
        });
  m.def("conv3x3_workspace_bytes", [](const Context& ctx, int n, int ic, int ih, int iw, int oc,
                                      const std::string& pass, const std::string& algorithm) {
    return conv3x3_workspace(ctx, {n, ic, ih, iw, oc}, pass_from_name("conv3x3", pass),
                             algorithm_from_name(algorithm)) *
           static_cast<std::ptrdiff_t>(sizeof(float));
  });
}

}  // namespace unet
