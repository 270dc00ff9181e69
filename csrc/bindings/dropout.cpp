#include "ops/dropout.h"

#include "bindings/arrays.h"
#include "bindings/bind.h"

namespace unet {

void bind_dropout(py::module_& m) {
  m.def("dropout_mask", [](const Context& ctx, float ratio, std::uint64_t seed,
                           std::uint64_t iteration, std::uint32_t layer, const py::array& mask) {
    const auto mask_span = span_of<std::uint8_t>(mask, "mask");
    py::gil_scoped_release release;
    dropout_mask(ctx, ratio, {seed, iteration, layer}, mask_span);
  });
  m.def("dropout_forward", [](const Context& ctx, const py::array& bottom, const py::array& mask,
                              float ratio, const py::array& top) {
    const auto bottom_view = view_of<const float>(bottom, "bottom");
    const auto mask_view = view_of<const std::uint8_t>(mask, "mask");
    const auto top_view = view_of<float>(top, "top");
    py::gil_scoped_release release;
    dropout_forward(ctx, bottom_view, mask_view, ratio, top_view);
  });
  m.def("dropout_backward", [](const Context& ctx, const py::array& top_diff, const py::array& mask,
                               float ratio, const py::array& bottom_diff) {
    const auto top_diff_view = view_of<const float>(top_diff, "top_diff");
    const auto mask_view = view_of<const std::uint8_t>(mask, "mask");
    const auto bottom_diff_view = view_of<float>(bottom_diff, "bottom_diff");
    py::gil_scoped_release release;
    dropout_backward(ctx, top_diff_view, mask_view, ratio, bottom_diff_view);
  });
}

}  // namespace unet
