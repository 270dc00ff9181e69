// Dispatch: from the contract of an op to the twin that runs it. The only file that knows which
// twins a build contains.
//
//   UNET_OP(relu_forward, void(const Context&, ConstView bottom, float slope, View top));
//     declares unet::relu_forward (checks, then dispatches), one unet::cpu::<isa>::relu_forward
//     per instruction set, and unet::cuda::relu_forward.
//   return dispatch(UNET_TWINS(relu_forward), ctx, bottom, slope, top);
//     calls the one that ctx asks for.
#pragma once

#include "core/config.h"
#include "core/context.h"
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
  namespace cuda {                    \
  op##_signature op;                  \
  }                                   \
  static_assert(true, "UNET_OP needs a semicolon")

#if defined(__x86_64__)
#define UNET_CPU_TWINS(op) cpu::baseline::op, cpu::avx2::op, cpu::avx512::op
#else
#define UNET_CPU_TWINS(op) cpu::baseline::op, cpu::baseline::op, cpu::baseline::op
#endif

#if UNET_HAS_CUDA
#define UNET_CUDA_TWIN(op) cuda::op
#else
#define UNET_CUDA_TWIN(op) nullptr
#endif

#define UNET_TWINS(op) \
  Twins<op##_signature> { UNET_CPU_TWINS(op), UNET_CUDA_TWIN(op) }

namespace unet {

template <class Signature>
struct Twins {
  Signature* baseline;
  Signature* avx2;
  Signature* avx512;
  Signature* cuda;
};

template <class Signature, class... Args>
decltype(auto) dispatch(Twins<Signature> twins, Context ctx, const Args&... args) {
  if (ctx.device == Device::kCuda) {
    if (twins.cuda == nullptr) fail_no_cuda();
    return twins.cuda(ctx, args...);
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
