#include "image/watershed.h"

#include "bindings/bind.h"
#include "bindings/planes.h"

namespace unet {

void bind_watershed(py::module_& m) {
  m.def("inner_distances",
        [](const Context& ctx, const py::array& mask, const py::array& distance) {
          const auto mask_plane = plane_of<const std::uint8_t>(mask, "mask");
          const auto distance_plane = plane_of<float>(distance, "distance");
          py::gil_scoped_release release;
          inner_distances(ctx.threads, mask_plane, distance_plane);
        });
  m.def("watershed", [](const py::array& height, float depth, const py::array& labels) {
    const auto height_plane = plane_of<const float>(height, "height");
    const auto labels_plane = plane_of<std::int32_t>(labels, "labels");
    py::gil_scoped_release release;
    return watershed(height_plane, depth, labels_plane);
  });
  m.def("close_gaps", [](const py::array& labels) {
    const auto labels_plane = plane_of<std::int32_t>(labels, "labels");
    py::gil_scoped_release release;
    close_gaps(labels_plane);
  });
}

}  // namespace unet
