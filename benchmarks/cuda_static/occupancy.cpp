// How many blocks of a kernel a multiprocessor holds, by NVIDIA's own formula: each line of stdin,
// "architecture registers threads static dynamic" (the last two: bytes of shared memory), gives a
// line of stdout, "blocks warps" (the warps of all resident blocks, and those there is room for).
// -1 blocks: the formula does not know the architecture.
#include <cuda_occupancy.h>

#include <climits>
#include <cstddef>
#include <cstdio>

namespace {

// CUDA C++ programming guide, table of technical specifications by compute capability.
struct Multiprocessor {
  int architecture, threads;
  int shared_kilobytes;  // of which each block loses the driver's kilobyte from sm_80 on
};

constexpr Multiprocessor kMultiprocessors[] = {
    {75, 1024, 64},  {80, 2048, 164},  {86, 1536, 100},  {89, 1536, 100},
    {90, 2048, 228}, {100, 2048, 228}, {120, 1536, 100},
};

int blocks_on(const Multiprocessor& sm, int registers, int threads, std::size_t fixed,
              std::size_t dynamic) {
  const std::size_t kilobyte = 1024, reserved = sm.architecture >= 80 ? kilobyte : 0;
  cudaOccDeviceProp device;
  device.computeMajor = sm.architecture / 10;
  device.computeMinor = sm.architecture % 10;
  device.maxThreadsPerBlock = 1024;
  device.maxThreadsPerMultiprocessor = sm.threads;
  device.regsPerBlock = device.regsPerMultiprocessor = 65536;
  device.warpSize = 32;
  device.numSms = 1;
  device.sharedMemPerBlock = 48 * kilobyte;
  device.sharedMemPerMultiprocessor = sm.shared_kilobytes * kilobyte;
  device.sharedMemPerBlockOptin = device.sharedMemPerMultiprocessor - reserved;
  device.reservedSharedMemPerBlock = reserved;

  cudaOccFuncAttributes kernel{};
  kernel.maxThreadsPerBlock = INT_MAX;
  kernel.numRegs = registers;
  kernel.sharedSizeBytes = fixed;
  kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
  kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
  kernel.maxDynamicSharedSizeBytes = device.sharedMemPerBlockOptin - fixed;
  kernel.numBlockBarriers = 1;

  cudaOccDeviceState state{};
  state.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
  cudaOccResult result{};
  const auto error =
      cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, dynamic);
  return error == CUDA_OCC_SUCCESS ? result.activeBlocksPerMultiprocessor : -1;
}

}  // namespace

int main() {
  int architecture, registers, threads;
  std::size_t fixed, dynamic;
  while (std::scanf("%d %d %d %zu %zu", &architecture, &registers, &threads, &fixed, &dynamic) ==
         5) {
    int blocks = -1, room = 0;
    for (const Multiprocessor& sm : kMultiprocessors) {
      if (sm.architecture != architecture) continue;
      blocks = blocks_on(sm, registers, threads, fixed, dynamic);
      room = sm.threads / 32;
    }
    std::printf("%d %d\n", blocks, room);
  }
}
