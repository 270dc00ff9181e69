#include "ops/crop_concat.h"

#include "bindings/arrays.h"
#include "bindings/bind.h"

namespace unet {

void bind_crop_concat(py::module_& m) {
  m.def("crop_concat_forward", [](const Context& ctx, const py::array& bottom, int offset_h,
                                  int offset_w, int channel, const py::array& top) {
    const auto bottom_view = view_of<const float>(bottom, "bottom");
    const auto top_view = view_of<float>(top, "top");
    py::gil_scoped_release release;
    crop_concat_forward(ctx, bottom_view, {offset_h, offset_w, channel}, top_view);
  });
  m.def("crop_concat_backward",
        [](const Context& ctx, const py::array& top_diff, int offset_h, int offset_w, int channel,
           bool accumulate, const py::array& bottom_diff) {
          const auto top_diff_view = view_of<const float>(top_diff, "top_diff");
          const auto bottom_diff_view = view_of<float>(bottom_diff, "bottom_diff");
          py::gil_scoped_release release;
          crop_concat_backward(ctx, top_diff_view, {offset_h, offset_w, channel}, accumulate,
                               bottom_diff_view);
        });
}

}  // namespace unet
