#include "ops/sgd.h"

#include "bindings/arrays.h"
#include "bindings/bind.h"
#include "bindings/regularization.h"

namespace unet {

void bind_sgd(py::module_& m) {
  m.def("sgd_update", [](const Context& ctx, const py::array& weight, const py::array& diff,
                         const py::array& history, float rate, float momentum, float weight_decay,
                         float scale, const std::string& regularization, bool keep_update) {
    const SgdStep step{rate,
                       momentum,
                       weight_decay,
                       scale,
                       regularization_from_name("sgd_update", regularization),
                       keep_update};
    const auto weight_span = span_of<float>(weight, "weight");
    const auto diff_span = span_of<float>(diff, "diff");
    const auto history_span = span_of<float>(history, "history");
    py::gil_scoped_release release;
    sgd_update(ctx, step, weight_span, diff_span, history_span);
  });
}

}  // namespace unet
