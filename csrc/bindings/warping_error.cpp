#include "image/warping_error.h"

#include "bindings/bind.h"
#include "bindings/planes.h"

namespace unet {

void bind_warping_error(py::module_& m) {
  m.def("warp_label", [](const py::array& proposal, double threshold, const py::array& warped) {
    const auto proposal_plane = plane_of<const float>(proposal, "proposal");
    const auto warped_plane = plane_of<std::uint8_t>(warped, "warped");
    py::gil_scoped_release release;
    return warp_label(proposal_plane, threshold, warped_plane);
  });
  m.def("classify_mismatches", [](const py::array& warped, const py::array& proposal,
                                  double threshold, int radius, const py::array& mismatches) {
    const auto warped_plane = plane_of<const std::uint8_t>(warped, "warped");
    const auto proposal_plane = plane_of<const float>(proposal, "proposal");
    const auto mismatches_plane = plane_of<std::uint8_t>(mismatches, "mismatches");
    py::gil_scoped_release release;
    classify_mismatches(warped_plane, proposal_plane, threshold, radius, mismatches_plane);
  });
}

}  // namespace unet
