// fma_peak on a GPU: 32 warps on each multiprocessor, and in each thread sums enough to cover the
// latency of a multiply-add. Returns when the device is done, for the caller takes the time.
#include "core/device_memory.h"
#include "cuda/check.h"
#include "ops/fma_peak.h"

namespace unet::UNET_GPU {
namespace {

constexpr int kThreads = 256, kBlocks = 4;  // on a multiprocessor
constexpr int kSums = 8, kRepeats = 4;      // in a round

__global__ void __launch_bounds__(kThreads)
    multiply_add(int rounds, float factor, float addend, float* nowhere) {
  float sum[kSums];
#pragma unroll
  for (int i = 0; i < kSums; ++i) sum[i] = factor + float(i);
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
#pragma unroll
      for (int i = 0; i < kSums; ++i) sum[i] = sum[i] * factor + addend;
    }
  }
  float total = 0;
#pragma unroll
  for (int i = 0; i < kSums; ++i) total += sum[i];
  if (total < 0.0f) *nowhere = total;  // never, but it keeps the sums alive
}

}  // namespace

double fma_peak(const Context& ctx, int rounds) {
  int gpu = 0;
  cudaDeviceProp properties;
  UNET_CUDA(cudaGetDevice(&gpu));
  UNET_CUDA(cudaGetDeviceProperties(&properties, gpu));
  const int blocks = kBlocks * properties.multiProcessorCount;
  UNET_CUDA(launch("fma_peak", multiply_add, unsigned(blocks), kThreads, 0, stream_of(ctx), rounds,
                   1.0f, 1e-6f, nullptr));
  device_memory.wait(ctx);
  return 2.0 * kSums * kRepeats * rounds * kThreads * blocks;
}

}  // namespace unet::UNET_GPU
