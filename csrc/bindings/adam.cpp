#include "ops/adam.h"

#include "bindings/bind.h"
#include "bindings/regularization.h"
#include "bindings/staging.h"

namespace unet {

void bind_adam(py::module_& m) {
  m.def("adam_update",
        [](const Context& ctx, const py::array& weight, const py::array& diff,
           const py::array& history, const py::array& history2, float rate, float momentum,
           float momentum2, float delta, float weight_decay, float scale,
           const std::string& regularization, bool keep_update, const py::object& rate_factor) {
          AdamStep step{rate,
                        momentum,
                        momentum2,
                        delta,
                        weight_decay,
                        scale,
                        regularization_from_name("adam_update", regularization),
                        keep_update};
          Arguments arguments(ctx);
          const auto weight_span = arguments.span<float>(weight, "weight");
          const auto diff_span = arguments.span<float>(diff, "diff");
          const auto history_span = arguments.span<float>(history, "history");
          const auto history2_span = arguments.span<float>(history2, "history2");
          step.rate_factor = arguments.span<const float>(rate_factor, "rate_factor").data;
          arguments.run(
              [=] { adam_update(ctx, step, weight_span, diff_span, history_span, history2_span); });
        });
}

}  // namespace unet
