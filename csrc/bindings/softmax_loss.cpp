#include "ops/softmax_loss.h"

#include <memory>

#include "bindings/bind.h"
#include "bindings/staging.h"

namespace unet {
namespace {

Normalization normalization_from_name(const std::string& name) {
  if (name == "FULL") return Normalization::kFull;
  if (name == "VALID") return Normalization::kValid;
  if (name == "BATCH_SIZE") return Normalization::kBatchSize;
  if (name == "NONE") return Normalization::kNone;
  if (name == "WEIGHT_SUM") return Normalization::kWeightSum;
  fail("softmax_loss", "unknown normalization \"" + name +
                           "\": use \"FULL\", \"VALID\", \"BATCH_SIZE\", \"NONE\" or "
                           "\"WEIGHT_SUM\"");
}

// None is a null view.
template <class T>
BasicView<T> optional_view(Arguments& arguments, const py::object& object, const char* name) {
  if (object.is_none()) return {};
  return arguments.view<T>(py::cast<py::array>(object), name);
}

}  // namespace

void bind_softmax_loss(py::module_& m) {
  m.def("softmax_loss",
        [](const Context& ctx, const py::array& score, const py::array& label,
           const py::object& weight, const std::string& normalization,
           const std::optional<int>& ignore_label, float loss_weight, const py::object& loss_diff,
           const py::array& workspace, const py::object& loss, bool wait,
           const py::object& bottom_diff, const py::object& prob) {
          const SoftmaxLossSetting setting{normalization_from_name(normalization),
                                           ignore_label.has_value(), ignore_label.value_or(0),
                                           loss_weight, wait};
          Arguments arguments(ctx);
          const auto score_view = arguments.view<const float>(score, "score");
          const auto label_view = arguments.view<const float>(label, "label");
          const auto weight_view = optional_view<const float>(arguments, weight, "weight");
          const auto loss_diff_span = arguments.span<const float>(loss_diff, "loss_diff");
          const auto loss_span = arguments.span<float>(loss, "loss");
          const auto workspace_span = arguments.span<float>(workspace, "workspace");
          const auto diff_view = optional_view<float>(arguments, bottom_diff, "bottom_diff");
          const auto prob_view = optional_view<float>(arguments, prob, "prob");
          const auto result = std::make_shared<double>(0);  // recorded, only loss_span has it
          arguments.run([=] {
            *result = softmax_loss(ctx, setting, score_view, label_view, weight_view,
                                   loss_diff_span, workspace_span, loss_span, diff_view, prob_view)
                          .loss;
          });
          return *result;
        });
  m.def("softmax_loss_workspace_bytes", [](const Context& ctx, int N, int H, int W) {
    return softmax_loss_workspace(ctx, N, H, W) * static_cast<std::ptrdiff_t>(sizeof(float));
  });
}

}  // namespace unet
