// unet_native._core: one bind_<op> per op, and the context they run in.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/bind.h"
#include "core/config.h"
#include "core/context.h"
#include "core/device_memory.h"
#include "core/error.h"

namespace py = pybind11;

namespace unet {
namespace {

Isa isa_from_name(const std::string& name) {
  for (Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (name == isa_name(isa)) {
      if (isa > best_isa()) fail("Context", "this machine has no " + name);
      return isa;
    }
  }
  if (name == "auto") return best_isa();
  fail("Context", "unknown instruction set \"" + name + "\"");
}

Device device_from_name(const std::string& name) {
  for (Device device : {Device::kCpu, Device::kCuda, Device::kCudaSimt, Device::kCudaSimtChecked}) {
    if (name != device_name(device)) continue;
    if (!has_device(device)) fail_no_device(device);
    return device;
  }
  fail("Context", "unknown device \"" + name + "\": use \"cpu\" or \"cuda\"");
}

Math math_from_name(const std::string& name) {
  for (Math math : {Math::kFp32, Math::kTf32, Math::kBf16}) {
    if (name == math_name(math)) return math;
  }
  fail("Context", "unknown math \"" + name + "\": use \"fp32\", \"tf32\" or \"bf16\"");
}

constexpr const char* kContextDoc =
    R"(Where an op runs: device, threads, instruction set, and the arithmetic of its products.

device: "cpu", or "cuda" where the build has kernels for it. threads: of the CPU, 0 for all cores.
isa: an instruction set of the CPU, "auto" for the widest. gpu: which one, counted from 0.
math: "fp32" multiplies float32 exactly as it is; "tf32" and "bf16" round the operands of matrix
products to nearest, with 10 and 7 bits of mantissa, for the tensor cores of a GPU of compute
capability 8.0 or newer. Blobs and sums stay float32; results are within 2e-3 (tf32) and 2e-2
(bf16) of the largest magnitude.

Raises ValueError for an unknown name and for a math that the device does not have.)";

void bind_context(py::module_& m) {
  py::class_<Context>(m, "Context", kContextDoc)
      .def(py::init([](const std::string& device, int threads, const std::string& isa, int gpu,
                       const std::string& math) {
             if (threads < 0) fail("Context", "threads must be positive, or 0 for all cores");
             Context ctx;
             ctx.device = device_from_name(device);
             ctx.threads = threads ? threads : default_threads();
             ctx.isa = isa_from_name(isa);
             ctx.gpu = gpu;
             ctx.math = math_from_name(math);
             if (ctx.device != Device::kCpu) ctx.stream = device_memory(ctx.device).open(gpu);
             check_math(ctx.device, ctx.math);
             return ctx;
           }),
           py::arg("device") = "cpu", py::arg("threads") = 0, py::arg("isa") = "auto",
           py::arg("gpu") = 0, py::arg("math") = "fp32")
      .def_readonly("gpu", &Context::gpu)
      .def_readonly("threads", &Context::threads)
      .def_property_readonly("isa", [](const Context& c) { return isa_name(c.isa); })
      .def_property_readonly("device", [](const Context& c) { return device_name(c.device); })
      .def_property_readonly("math", [](const Context& c) { return math_name(c.math); });
  m.def("default_threads", &default_threads);
  m.def("devices", [] {
    std::vector<const char*> names;
    for (Device device :
         {Device::kCpu, Device::kCuda, Device::kCudaSimt, Device::kCudaSimtChecked}) {
      if (has_device(device)) names.push_back(device_name(device));
    }
    return names;
  });
  py::register_exception<CudaError>(m, "CudaError", PyExc_RuntimeError);
  m.attr("version") = UNET_VERSION;
}

}  // namespace
}  // namespace unet

PYBIND11_MODULE(_core, m) {
  m.doc() = "The compiled core of unet_native. Use unet_native.ops, which documents each function.";
  unet::bind_context(m);
  unet::bind_device(m);
  unet::bind_host_graph(m);
  unet::bind_cuda_status(m);
#if defined(UNET_HAS_SIMT)
  unet::bind_simt(m);
#endif
  unet::bind_conv1x1(m);
  unet::bind_conv3x3(m);
  unet::bind_up_conv2x2(m);
  unet::bind_relu(m);
  unet::bind_max_pool2x2(m);
  unet::bind_crop_concat(m);
  unet::bind_dropout(m);
  unet::bind_softmax(m);
  unet::bind_softmax_loss(m);
  unet::bind_sgd(m);
  unet::bind_adam(m);
  unet::bind_fma_peak(m);

  unet::bind_border_distance(m);
  unet::bind_warp(m);
  unet::bind_components(m);
  unet::bind_cut_pixels(m);
  unet::bind_flooding(m);
  unet::bind_watershed(m);
  unet::bind_partition_scores(m);
  unet::bind_warping_error(m);
}
