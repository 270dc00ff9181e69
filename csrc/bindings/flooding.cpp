#include "image/flooding.h"

#include "bindings/bind.h"
#include "bindings/planes.h"

namespace unet {

void bind_flooding(py::module_& m) {
  m.def("flood_basins", [](const py::array& interior, const py::array& basins) {
    const auto interior_plane = plane_of<const std::uint8_t>(interior, "interior");
    const auto basins_plane = plane_of<std::int32_t>(basins, "basins");
    py::gil_scoped_release release;
    return flood_basins(interior_plane, basins_plane);
  });
}

}  // namespace unet
