// The operations that need an instruction of their own. All inline assembly of the project is here,
// each beside what the SIMT runtime does in its place.
#pragma once

#include "cuda/language.h"

#if !defined(__CUDACC__)
#include "simt/checker.h"
#include "simt/tensor_core.h"
#endif

namespace unet::UNET_GPU {
namespace {

#if defined(__CUDACC__)
#define UNET_DEVICE_OP __device__ __forceinline__
#elif UNET_SIMT_CHECKED
// Not inlined: the address that it returns to is the kernel's line.
#define UNET_DEVICE_OP __attribute__((unused)) UNET_SIMT_RUNTIME
#else
#define UNET_DEVICE_OP __attribute__((unused)) inline
#endif

#if UNET_SIMT_CHECKED
#define UNET_TOUCHES(address, bytes, access)                                  \
  unet::simt::check_access(address, bytes, bytes, unet::simt::Access::access, \
                           __builtin_return_address(0))
#else
#define UNET_TOUCHES(address, bytes, access)
#endif

// --- memory: one access of 16 or 8 bytes, whose address is a multiple of that ---

UNET_DEVICE_OP float4 load4(const float* p) {
  UNET_TOUCHES(p, 16, kRead);
  return *reinterpret_cast<const float4*>(p);
}

UNET_DEVICE_OP void store4(float* p, float4 value) {
  UNET_TOUCHES(p, 16, kWrite);
  *reinterpret_cast<float4*>(p) = value;
}

UNET_DEVICE_OP void store2(float* p, float2 value) {
  UNET_TOUCHES(p, 8, kWrite);
  *reinterpret_cast<float2*>(p) = value;
}

// --- registers ---

// The same value, of which the compiler does not know that: what is computed of it is computed
// where it stands, instead of occupying a register from an earlier place on.
UNET_DEVICE_OP int computed_again(int value) {
#if defined(__CUDACC__)
  asm volatile("" : "+r"(value));
#endif
  return value;
}

// --- asynchronous copies from global to shared memory ---
//
// Kernels use them through these three; sm_75, which has none, copies at once.

// Copies 16 bytes, or writes 16 zeros if not `there`, and then reads nothing.
UNET_DEVICE_OP void copy16_async(float* to, const float* from, bool there) {
#if !defined(__CUDACC__)
  unet::simt::machine().copy_async(to, from, 16, there ? 16 : 0, __builtin_return_address(0));
#elif __CUDA_ARCH__ >= 800
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address), "l"(from),
               "r"(there ? 16 : 0)
               : "memory");
#else
  store4(to, there ? load4(from) : make_float4(0, 0, 0, 0));
#endif
}

// The copies since the last call become a group.
UNET_DEVICE_OP void commit_copies() {
#if !defined(__CUDACC__)
  unet::simt::machine().commit_copies();
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

// Waits until at most `Left` of the thread's groups are under way. What other threads have copied
// is there after the barrier that must follow.
template <int Left>
UNET_DEVICE_OP void wait_for_copies() {
#if !defined(__CUDACC__)
  unet::simt::machine().wait_for_copies(Left);
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;\n" ::"n"(Left) : "memory");
#endif
}

// --- tensor cores (sm_80 and newer) ---

// x for a product in TF32, rounded to 10 bits of mantissa: to nearest, ties away from zero. The
// tensor core does not look at the 13 bits below, so half a unit of the last place more is all that
// rounding needs: its own power of two, with its sign, times 2^-11. Infinities and NaN stay what
// they are, and it takes two instructions where cvt.rna.tf32.f32 becomes four (sm_80, sm_90).
UNET_DEVICE_OP unsigned to_tf32(float x) {
  const float power = __uint_as_float(__float_as_uint(x) & 0xff800000u);
  return __float_as_uint(x + power * 0x1p-11f);
}

// low and high rounded to bfloat16, 7 bits of mantissa, in one register: to nearest, ties to even.
UNET_DEVICE_OP unsigned to_bf16(float low, float high) {
#if !defined(__CUDACC__)
  const auto round = [](float x) {
    const unsigned bits = __float_as_uint(x);
    return x != x ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
  };
  return round(low) | round(high) << 16;
#elif __CUDA_ARCH__ >= 800
  unsigned both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
#else
  return __float_as_uint(low) >> 16 | (__float_as_uint(high) & 0xffff0000u);
#endif
}

#if defined(__CUDACC__)
#define UNET_LINE
#else
#define UNET_LINE , int line = __builtin_LINE()
#endif

// D += A B for A (16 x 8), B (8 x 8), D (16 x 8); fragments as in simt/tensor_core.h.
UNET_DEVICE_OP void multiply_tf32(float (&d)[4], const unsigned (&a)[4],
                                  const unsigned (&b)[2] UNET_LINE) {
#if !defined(__CUDACC__)
  unet::simt::multiply<unet::simt::Tf32>(d, a, b, line);
#elif __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// The same for A (16 x 16), B (16 x 8) of bfloat16, two in each register.
UNET_DEVICE_OP void multiply_bf16(float (&d)[4], const unsigned (&a)[4],
                                  const unsigned (&b)[2] UNET_LINE) {
#if !defined(__CUDACC__)
  unet::simt::multiply<unet::simt::Bf16>(d, a, b, line);
#elif __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Four 8x8 matrices of 16-bit elements (or 8x4 of 32-bit ones) from shared memory: lane l gives the
// address of row l % 8 of matrix l / 8.
UNET_DEVICE_OP void load_matrices(unsigned (&registers)[4], const float* row UNET_LINE) {
#if !defined(__CUDACC__)
  UNET_TOUCHES(row, 16, kRead);
  unet::simt::load_matrices(registers, row, line);
#else
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(address));
#endif
}

}  // namespace
}  // namespace unet::UNET_GPU
