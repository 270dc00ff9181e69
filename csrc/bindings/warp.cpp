#include "image/warp.h"

#include <pybind11/stl.h>

#include "bindings/bind.h"
#include "bindings/planes.h"

namespace unet {
namespace {

// index and weight are (size, 4); every index names one of `nodes`.
Taps taps_of(const py::array& index, const py::array& weight, int nodes, const char* name) {
  const auto index_plane = plane_of<const std::int32_t>(index, name);
  const auto weight_plane = plane_of<const float>(weight, name);
  if (index_plane.w != 4 || weight_plane.w != 4 || index_plane.h != weight_plane.h) {
    refuse(name, "expected indices and weights of shape (size, 4)");
  }
  for (std::ptrdiff_t i = 0; i < index.size(); ++i) {
    if (index_plane.data[i] < 0 || index_plane.data[i] >= nodes) refuse(name, "no such node");
  }
  return {index_plane.data, weight_plane.data, index_plane.h, nodes};
}

// The number of positions in coordinates (H, W, 2); `out` must hold `channels` values for each.
std::ptrdiff_t count_of(const Plane<const float>& coordinates, const py::array& out, int channels) {
  const std::ptrdiff_t count = static_cast<std::ptrdiff_t>(coordinates.h) * coordinates.w;
  if (coordinates.c != 2) refuse("coordinates", "expected shape (H, W, 2)");
  if (out.shape(0) != coordinates.h || out.shape(1) != coordinates.w ||
      out.size() != count * channels) {
    refuse("out", "expected one pixel for each of the coordinates");
  }
  return count;
}

template <class T>
void sample_nearest_array(const Context& ctx, const py::array& image, const py::array& coordinates,
                          const py::array& out) {
  const auto image_plane = plane_of<const T>(image, "image");
  const auto coordinates_plane = plane_of<const float>(coordinates, "coordinates", true);
  const auto out_plane = plane_of<T>(out, "out");
  const auto count = count_of(coordinates_plane, out, 1);
  py::gil_scoped_release release;
  sample_nearest<T>(ctx.threads, image_plane, coordinates_plane.data, count, out_plane.data);
}

}  // namespace

void bind_warp(py::module_& m) {
  m.def(
      "deformed_coordinates",
      [](const Context& ctx, const py::array& displacement, const py::array& row_index,
         const py::array& row_weight, const py::array& column_index, const py::array& column_weight,
         const std::array<double, 4>& matrix, const std::array<double, 2>& centre,
         const std::array<double, 2>& offset, const py::array& coordinates) {
        const auto nodes = plane_of<const float>(displacement, "displacement", true);
        const auto to = plane_of<float>(coordinates, "coordinates", true);
        const Taps rows = taps_of(row_index, row_weight, nodes.h, "rows");
        const Taps columns = taps_of(column_index, column_weight, nodes.w, "columns");
        if (nodes.c != 2 || to.c != 2 || to.h != rows.size || to.w != columns.size) {
          refuse("coordinates", "expected shape (rows, columns, 2)");
        }
        const Affine affine{{matrix[0], matrix[1], matrix[2], matrix[3]},
                            {centre[0], centre[1]},
                            {offset[0], offset[1]}};
        py::gil_scoped_release release;
        deformed_coordinates(ctx.threads, nodes.data, rows, columns, affine, to.data);
      });
  m.def("sample_image", [](const Context& ctx, const py::array& image, const py::array& coordinates,
                           bool cubic, const py::array& out) {
    const auto image_plane = plane_of<const float>(image, "image", true);
    const auto coordinates_plane = plane_of<const float>(coordinates, "coordinates", true);
    const auto out_plane = plane_of<float>(out, "out", true);
    const auto count = count_of(coordinates_plane, out, image_plane.c);
    py::gil_scoped_release release;
    (cubic ? sample_cubic : sample_linear)(ctx.threads, image_plane, coordinates_plane.data, count,
                                           out_plane.data);
  });
  m.def("sample_nearest", [](const Context& ctx, const py::array& image,
                             const py::array& coordinates, const py::array& out) {
    if (py::isinstance<py::array_t<std::uint8_t>>(image)) {
      sample_nearest_array<std::uint8_t>(ctx, image, coordinates, out);
    } else {
      sample_nearest_array<std::int32_t>(ctx, image, coordinates, out);
    }
  });
  m.def("apply_curves", [](const Context& ctx, const py::array& values, const py::array& curve,
                           const py::array& low, const py::array& high) {
    const auto plane = plane_of<float>(values, "values", true);
    const auto knots = plane_of<const float>(curve, "curve");
    const auto low_span = span_of<const float>(low, "low");
    const auto high_span = span_of<const float>(high, "high");
    if (knots.h != plane.c || knots.w < 2 || low_span.size != plane.c ||
        high_span.size != plane.c) {
      refuse("curve", "expected (channels, knots), low and high (channels)");
    }
    py::gil_scoped_release release;
    apply_curves(ctx.threads, plane.data, static_cast<std::ptrdiff_t>(plane.h) * plane.w, plane.c,
                 knots.data, knots.w, low_span.data, high_span.data);
  });
}

}  // namespace unet
