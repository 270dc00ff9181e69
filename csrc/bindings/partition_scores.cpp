#include "image/partition_scores.h"

#include "bindings/bind.h"
#include "bindings/planes.h"

namespace unet {

void bind_partition_scores(py::module_& m) {
  py::class_<PairCounts>(m, "PairCounts")
      .def_readonly("tp", &PairCounts::tp)
      .def_readonly("tn", &PairCounts::tn)
      .def_readonly("fp", &PairCounts::fp)
      .def_readonly("fn", &PairCounts::fn);
  py::class_<Entropies>(m, "Entropies")
      .def_readonly("truth", &Entropies::truth)
      .def_readonly("proposal", &Entropies::proposal)
      .def_readonly("truth_given_proposal", &Entropies::truth_given_proposal)
      .def_readonly("proposal_given_truth", &Entropies::proposal_given_truth)
      .def_readonly("variation", &Entropies::variation);
  py::class_<PartitionScores>(m, "PartitionScores")
      .def_readonly("standard", &PartitionScores::standard)
      .def_readonly("restricted", &PartitionScores::restricted)
      .def_readonly("entropies", &PartitionScores::entropies);
  m.def("partition_scores", [](const py::array& truth, const py::array& proposal) {
    const auto truth_plane = plane_of<const std::int32_t>(truth, "truth");
    const auto proposal_plane = plane_of<const std::int32_t>(proposal, "proposal");
    py::gil_scoped_release release;
    return partition_scores(truth_plane, proposal_plane);
  });
}

}  // namespace unet
