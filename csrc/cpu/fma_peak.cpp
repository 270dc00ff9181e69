// fma_peak on the CPU: enough independent sums to cover the latency of a multiply-add on two units.
#include "ops/fma_peak.h"

#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {

double fma_peak(const Context& ctx, int rounds) {
  constexpr int kSums = 12;  // of 16 registers; two are for the factors
  constexpr int kRepeats = 64;
  double total = 0;  // read by nobody, but it keeps the sums alive
#pragma omp parallel num_threads(ctx.threads) reduction(+ : total)
  {
    volatile float one = 1.0f, little = 1e-6f;
    const vfloat factor = splat(one), addend = splat(little);
    vfloat sum[kSums];
    for (int i = 0; i < kSums; ++i) sum[i] = splat(one);
    for (int round = 0; round < rounds; ++round) {
      for (int repeat = 0; repeat < kRepeats; ++repeat) {
#pragma GCC unroll 12
        for (int i = 0; i < kSums; ++i) sum[i] = sum[i] * factor + addend;
      }
    }
    for (int i = 0; i < kSums; ++i) total += sum[i][0];
  }
  const double operations = 2.0 * kLanes * kSums * kRepeats;
  return total > 0 ? operations * rounds * ctx.threads : 0;
}

}  // namespace unet::cpu::UNET_ISA
