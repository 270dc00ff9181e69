// Dispatch: from the contract of an op to the twin that runs it. The only file that knows which
// twins a build contains.
//
//   UNET_OP(relu_forward, void(const Context&, ConstView bottom, float slope, View top));
//     declares unet::relu_forward (checks, then dispatches), one unet::cpu::<isa>::relu_forward
//     per instruction set, and one for each way to run the kernels of cuda/.
//   return dispatch(UNET_TWINS(relu_forward), ctx, bottom, slope, top);
//     calls the one that ctx asks for.
#pragma once

#include "core/context.h"
#include "core/device_memory.h"
#include "core/error.h"

#define UNET_OP(op, ...)              \
  using op##_signature = __VA_ARGS__; \
  op##_signature op;                  \
  namespace cpu {                     \
  namespace baseline {                \
  op##_signature op;                  \
  }                                   \
  namespace avx2 {                    \
  op##_signature op;                  \
  }                                   \
  namespace avx512 {                  \
  op##_signature op;                  \
  }                                   \
  }                                   \
  UNET_GPU_OP(cuda, op)               \
  UNET_GPU_OP(cuda_simt, op)          \
  UNET_GPU_OP(cuda_simt_checked, op)  \
  static_assert(true, "UNET_OP needs a semicolon")

// Weak: null where the build has no kernels for the device.
#define UNET_GPU_OP(device, op)            \
  namespace device {                       \
  op##_signature op __attribute__((weak)); \
  }

#if defined(__x86_64__)
#define UNET_CPU_TWINS(op) cpu::baseline::op, cpu::avx2::op, cpu::avx512::op
#else
#define UNET_CPU_TWINS(op) cpu::baseline::op, cpu::baseline::op, cpu::baseline::op
#endif

#define UNET_TWINS(op)                                                     \
  Twins<op##_signature> {                                                  \
    UNET_CPU_TWINS(op), { cuda::op, cuda_simt::op, cuda_simt_checked::op } \
  }

namespace unet {

template <class Signature>
struct Twins {
  Signature* baseline;
  Signature* avx2;
  Signature* avx512;
  Signature* gpu[3];  // by Device, from kCuda
};

template <class Signature, class... Args>
decltype(auto) dispatch(Twins<Signature> twins, Context ctx, const Args&... args) {
  if (ctx.device != Device::kCpu) {
    Signature* const twin = twins.gpu[static_cast<int>(ctx.device) - 1];
    if (twin == nullptr) fail_no_device(ctx.device);
    device_memory(ctx.device).select(ctx.gpu);
    return twin(ctx, args...);
  }
  ctx.threads = usable_threads(ctx.threads);
  switch (ctx.isa) {
    case Isa::kAvx512:
      return twins.avx512(ctx, args...);
    case Isa::kAvx2:
      return twins.avx2(ctx, args...);
    case Isa::kBaseline:
      break;
  }
  return twins.baseline(ctx, args...);
}

}  // namespace unet
