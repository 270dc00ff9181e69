#include "image/components.h"

#include "bindings/bind.h"
#include "bindings/planes.h"

namespace unet {

void bind_components(py::module_& m) {
  m.def("label_components", [](const py::array& mask, int neighbours, const py::array& labels) {
    const auto mask_plane = plane_of<const std::uint8_t>(mask, "mask");
    const auto labels_plane = plane_of<std::int32_t>(labels, "labels");
    if (neighbours != 4 && neighbours != 8) refuse("neighbours", "expected 4 or 8");
    py::gil_scoped_release release;
    return label_components(mask_plane, neighbours == 4 ? Neighbours::k4 : Neighbours::k8,
                            labels_plane);
  });
}

}  // namespace unet
