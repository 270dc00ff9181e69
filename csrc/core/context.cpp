#include "core/context.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>

namespace unet {
namespace {

std::atomic<bool> parallel_before_fork{false};
std::atomic<bool> forked_after_parallel{false};

// CPUs granted by the control group (v2, then v1), or 0 if it sets no limit.
int cgroup_cpus() {
  double quota = 0, period = 0;
  std::string word;
  if (std::ifstream file("/sys/fs/cgroup/cpu.max"); file >> word >> period && word != "max") {
    quota = std::strtod(word.c_str(), nullptr);
  } else {
    std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (!(quota_file >> quota && period_file >> period)) return 0;
  }
  if (quota <= 0 || period <= 0) return 0;
  return std::max(1, static_cast<int>(quota / period + 0.5));
}

}  // namespace

Isa best_isa() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")) {
    return Isa::kAvx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::kAvx2;
#endif
  return Isa::kBaseline;
}

const char* device_name(Device device) {
  switch (device) {
    case Device::kCuda:
      return "cuda";
    case Device::kCudaSimt:
      return "cuda-simt";
    case Device::kCudaSimtChecked:
      return "cuda-simt-checked";
    case Device::kCpu:
      break;
  }
  return "cpu";
}

const char* math_name(Math math) {
  switch (math) {
    case Math::kTf32:
      return "tf32";
    case Math::kBf16:
      return "bf16";
    case Math::kFp32:
      break;
  }
  return "fp32";
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kBaseline:
      break;
  }
#if defined(__aarch64__)
  return "neon";
#else
  return "baseline";
#endif
}

int default_threads() {
  int threads = omp_get_num_procs();
  if (const char* wish = std::getenv("OMP_NUM_THREADS")) {
    const int count = std::atoi(wish);
    if (count > 0) threads = std::min(threads, count);
  }
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) threads = std::min(threads, CPU_COUNT(&set));
  if (const int quota = cgroup_cpus()) threads = std::min(threads, quota);
#endif
  return std::max(1, threads);
}

int usable_threads(int threads) {
  static std::once_flag once;
  std::call_once(once, [] {
    pthread_atfork(nullptr, nullptr, [] {
      if (parallel_before_fork) forked_after_parallel = true;
    });
  });
  if (forked_after_parallel) return 1;
  if (threads > 1) parallel_before_fork = true;
  return threads;
}

}  // namespace unet
