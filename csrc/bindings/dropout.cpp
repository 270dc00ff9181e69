#include "ops/dropout.h"

#include "bindings/bind.h"
#include "bindings/staging.h"

namespace unet {

void bind_dropout(py::module_& m) {
  m.def("dropout_mask",
        [](const Context& ctx, float ratio, std::uint64_t seed, std::uint64_t iteration,
           const py::object& further, std::uint32_t layer, const py::array& mask) {
          Arguments arguments(ctx);
          const auto further_span = arguments.span<const std::uint64_t>(further, "further");
          const auto mask_span = arguments.span<std::uint8_t>(mask, "mask");
          arguments.run([=] {
            dropout_mask(ctx, ratio, {seed, iteration, layer, further_span.data}, mask_span);
          });
        });
  m.def("dropout_forward", [](const Context& ctx, const py::array& bottom, const py::array& mask,
                              float ratio, const py::array& top) {
    Arguments arguments(ctx);
    const auto bottom_view = arguments.view<const float>(bottom, "bottom");
    const auto mask_view = arguments.view<const std::uint8_t>(mask, "mask");
    const auto top_view = arguments.view<float>(top, "top");
    arguments.run([=] { dropout_forward(ctx, bottom_view, mask_view, ratio, top_view); });
  });
  m.def("dropout_backward", [](const Context& ctx, const py::array& top_diff, const py::array& mask,
                               float ratio, const py::array& bottom_diff) {
    Arguments arguments(ctx);
    const auto top_diff_view = arguments.view<const float>(top_diff, "top_diff");
    const auto mask_view = arguments.view<const std::uint8_t>(mask, "mask");
    const auto bottom_diff_view = arguments.view<float>(bottom_diff, "bottom_diff");
    arguments.run(
        [=] { dropout_backward(ctx, top_diff_view, mask_view, ratio, bottom_diff_view); });
  });
}

}  // namespace unet
