#include "ops/sgd.h"

#include "bindings/bind.h"
#include "bindings/regularization.h"
#include "bindings/staging.h"

namespace unet {

void bind_sgd(py::module_& m) {
  m.def("sgd_update",
        [](const Context& ctx, const py::array& weight, const py::array& diff,
           const py::array& history, float rate, float momentum, float weight_decay, float scale,
           const std::string& regularization, bool keep_update, const py::object& rate_factor) {
          SgdStep step{rate,
                       momentum,
                       weight_decay,
                       scale,
                       regularization_from_name("sgd_update", regularization),
                       keep_update};
          Arguments arguments(ctx);
          const auto weight_span = arguments.span<float>(weight, "weight");
          const auto diff_span = arguments.span<float>(diff, "diff");
          const auto history_span = arguments.span<float>(history, "history");
          step.rate_factor = arguments.span<const float>(rate_factor, "rate_factor").data;
          arguments.run([=] { sgd_update(ctx, step, weight_span, diff_span, history_span); });
        });
}

}  // namespace unet
