#include "core/cuda_status.h"

#include <pybind11/pybind11.h>

#include "bindings/bind.h"
#include "core/config.h"

namespace unet {

namespace py = pybind11;

void bind_cuda_status(py::module_& m) {
  m.def(
      "cuda_status",
      [] {
        const CudaAnswers& answers = cuda_answers();
        py::list devices;
        for (const CudaDevice& device : answers.devices) {
          py::dict facts;
          facts["name"] = device.name;
          facts["compute_capability"] = py::make_tuple(device.major, device.minor);
          facts["memory_bytes"] = device.memory;
          facts["multiprocessors"] = device.multiprocessors;
          devices.append(facts);
        }
        py::dict status;
        status["obstacle"] = cuda_obstacle();
        status["architectures"] = py::str(UNET_CUDA_ARCHITECTURES).attr("split")(";");
        if (UNET_CUDA_ARCHITECTURES[0] == 0) status["architectures"] = py::list();
        status["devices"] = devices;
        return status;
      },
      "Whether device=\"cuda\" can be used: {obstacle: why not, in one sentence, or \"\"; "
      "architectures: what the kernels were compiled for; devices: a dict for each GPU}.");
}

}  // namespace unet
