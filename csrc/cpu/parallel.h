// How many threads a loop is worth.
#pragma once

#include <cstddef>

#include "core/context.h"

namespace unet::cpu::UNET_ISA {
namespace {

// A loop over fewer floats than this ends sooner than other threads start: about 5 us on an idle
// machine, and a whole time slice where a neighbour holds the core that the other thread needs.
constexpr std::ptrdiff_t kMinParallelFloats = 1 << 15;

[[maybe_unused]] inline int threads_for(const Context& ctx, std::ptrdiff_t floats) {
  return floats < kMinParallelFloats ? 1 : ctx.threads;
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA
