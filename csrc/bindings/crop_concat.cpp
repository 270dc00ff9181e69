#include "ops/crop_concat.h"

#include "bindings/bind.h"
#include "bindings/staging.h"

namespace unet {

void bind_crop_concat(py::module_& m) {
  m.def("crop_concat_forward", [](const Context& ctx, const py::array& bottom, int offset_h,
                                  int offset_w, int channel, const py::array& top) {
    Arguments arguments(ctx);
    const auto bottom_view = arguments.view<const float>(bottom, "bottom");
    const auto top_view = arguments.view<float>(top, "top");
    arguments.run(
        [=] { crop_concat_forward(ctx, bottom_view, {offset_h, offset_w, channel}, top_view); });
  });
  m.def("crop_concat_backward",
        [](const Context& ctx, const py::array& top_diff, int offset_h, int offset_w, int channel,
           bool accumulate, const py::array& bottom_diff) {
          Arguments arguments(ctx);
          const auto top_diff_view = arguments.view<const float>(top_diff, "top_diff");
          const auto bottom_diff_view = arguments.view<float>(bottom_diff, "bottom_diff");
          arguments.run([=] {
            crop_concat_backward(ctx, top_diff_view, {offset_h, offset_w, channel}, accumulate,
                                 bottom_diff_view);
          });
        });
}

}  // namespace unet
