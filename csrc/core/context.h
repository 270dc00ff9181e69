// Context: everything a call needs to know about where it runs. There is no global device mode.
#pragma once

namespace unet {

// kCudaSimt and kCudaSimtChecked run the kernels of kCuda on the CPU, for tests (csrc/simt/).
enum class Device { kCpu, kCuda, kCudaSimt, kCudaSimtChecked };

// Instruction sets of the CPU kernels, in ascending order.
enum class Isa { kBaseline, kAvx2, kAvx512 };

// What products of matrices are computed in. Blobs and sums are float32 in any case; operands of a
// product are rounded to nearest: not at all, to TF32 (10 bits of mantissa) or to bfloat16 (7
// bits). The latter two run on tensor cores.
enum class Math { kFp32, kTf32, kBf16 };

struct Context {
  Device device = Device::kCpu;
  int threads = 1;
  Isa isa = Isa::kBaseline;
  int gpu = 0;             // which one, if device is kCuda
  void* stream = nullptr;  // of that GPU, a cudaStream_t
  Math math = Math::kFp32;
};

// The widest instruction set that this machine and this build offer.
Isa best_isa();
const char* isa_name(Isa isa);

// Cores that this process may use: the smallest of OMP_NUM_THREADS, its CPU affinity and its
// control group's CPU quota (which OpenMP itself ignores).
int default_threads();

// 1 in a child forked after the parent has run a parallel region (where OpenMP would hang), else
// `threads`.
int usable_threads(int threads);

const char* device_name(Device device);  // "cpu", "cuda", "cuda-simt", "cuda-simt-checked"
const char* math_name(Math math);        // "fp32", "tf32", "bf16"

}  // namespace unet
