#include "ops/fma_peak.h"

namespace unet {

double fma_peak(const Context& ctx, int rounds) {
  if (rounds < 1) fail("fma_peak", "rounds must be at least 1, got " + std::to_string(rounds));
  return dispatch(UNET_TWINS(fma_peak), ctx, rounds);
}

}  // namespace unet
