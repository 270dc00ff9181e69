#include "image/cut_pixels.h"

#include "bindings/bind.h"
#include "bindings/planes.h"

namespace unet {

void bind_cut_pixels(py::module_& m) {
  m.def("find_cut_pixels", [](const py::array& mask, const py::array& cut) {
    const auto mask_plane = plane_of<const std::uint8_t>(mask, "mask");
    const auto cut_plane = plane_of<std::uint8_t>(cut, "cut");
    py::gil_scoped_release release;
    find_cut_pixels(mask_plane, cut_plane);
  });
}

}  // namespace unet
