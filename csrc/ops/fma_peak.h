// The yardstick of the kernels: as many fused multiply-adds as the machine can do.
//
// Runs `rounds` rounds of independent multiply-adds on every thread of the context (on a GPU, as
// many as occupy it), all of them in registers, and returns how many floating-point operations that
// were. Their time is the caller's to take; what comes out is the peak that no matrix product
// exceeds. (Winograd's convolutions do, counted by the operations of the direct sum, of which they
// need a quarter.)
#pragma once

#include "core/dispatch.h"

namespace unet {

UNET_OP(fma_peak, double(const Context&, int rounds));

}  // namespace unet
