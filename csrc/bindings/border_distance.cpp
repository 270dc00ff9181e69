#include "image/border_distance.h"

#include "bindings/bind.h"
#include "bindings/planes.h"

namespace unet {

void bind_border_distance(py::module_& m) {
  m.def("border_distances", [](const Context& ctx, const py::array& instances, float max_sum,
                               float max_nearest, const py::array& d1, const py::array& d2) {
    const auto instances_plane = plane_of<const std::int32_t>(instances, "instances");
    const auto d1_plane = plane_of<float>(d1, "d1");
    const auto d2_plane = plane_of<float>(d2, "d2");
    py::gil_scoped_release release;
    border_distances(ctx.threads, instances_plane, max_sum, max_nearest, d1_plane, d2_plane);
  });
}

}  // namespace unet
