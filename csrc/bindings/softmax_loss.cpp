#include "ops/softmax_loss.h"

#include "bindings/arrays.h"
#include "bindings/bind.h"

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
BasicView<T> optional_view(const py::object& object, const char* name) {
  if (object.is_none()) return {};
  return view_of<T>(py::cast<py::array>(object), name);
}

}  // namespace

void bind_softmax_loss(py::module_& m) {
  m.def("softmax_loss",
        [](const Context& ctx, const py::array& score, const py::array& label,
           const py::object& weight, const std::string& normalization,
           const std::optional<int>& ignore_label, float loss_weight, const py::array& workspace,
           const py::object& bottom_diff, const py::object& prob) {
          const SoftmaxLossSetting setting{normalization_from_name(normalization),
                                           ignore_label.has_value(), ignore_label.value_or(0),
                                           loss_weight};
          const auto score_view = view_of<const float>(score, "score");
          const auto label_view = view_of<const float>(label, "label");
          const auto weight_view = optional_view<const float>(weight, "weight");
          const auto workspace_span = span_of<float>(workspace, "workspace");
          const auto diff_view = optional_view<float>(bottom_diff, "bottom_diff");
          const auto prob_view = optional_view<float>(prob, "prob");
          py::gil_scoped_release release;
          return softmax_loss(ctx, setting, score_view, label_view, weight_view, workspace_span,
                              diff_view, prob_view)
              .loss;
        });
  m.def("softmax_loss_workspace_bytes", [](int N, int H, int W) {
    return softmax_loss_workspace(N, H, W) * static_cast<std::ptrdiff_t>(sizeof(float));
  });
}

}  // namespace unet
