// CUDA's dialect of C++, as far as the kernels of cuda/ use it, for an ordinary compiler.
//
// A file of kernels that includes cuda/language.h compiles with nvcc, or with this header into code
// that the machine (machine.h) runs. UNET_SIMT_CHECKED is 1 in files compiled for the checker.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "simt/machine.h"
#include "simt/vector_types.h"

#ifndef UNET_SIMT_CHECKED
#define UNET_SIMT_CHECKED 0
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

// Copies: a reference would be read by the kernel, for which that is memory of the host.
UNET_SIMT_RUNTIME inline unsigned unet_simt_lane() { return unet::simt::machine().here().lane; }
UNET_SIMT_RUNTIME inline uint3 unet_simt_thread() { return unet::simt::machine().here().thread; }
UNET_SIMT_RUNTIME inline uint3 unet_simt_block() { return unet::simt::machine().here().block; }
UNET_SIMT_RUNTIME inline dim3 unet_simt_block_size() {
  return unet::simt::machine().here().block_size;
}
UNET_SIMT_RUNTIME inline dim3 unet_simt_grid_size() {
  return unet::simt::machine().here().grid_size;
}
#define threadIdx (unet_simt_thread())
#define blockIdx (unet_simt_block())
#define blockDim (unet_simt_block_size())
#define gridDim (unet_simt_grid_size())

// --- barriers: a barrier is known by its line ---

UNET_SIMT_RUNTIME inline void __syncthreads(int line = __builtin_LINE()) {
  unet::simt::machine().barrier(line);
}
UNET_SIMT_RUNTIME inline int __syncthreads_or(int vote, int line = __builtin_LINE()) {
  using unet::simt::Machine;
  return unet::simt::machine().barrier_reduce(Machine::Reduce::kAny, vote, line);
}
UNET_SIMT_RUNTIME inline int __syncthreads_and(int vote, int line = __builtin_LINE()) {
  using unet::simt::Machine;
  return unet::simt::machine().barrier_reduce(Machine::Reduce::kAll, vote, line);
}
UNET_SIMT_RUNTIME inline int __syncthreads_count(int vote, int line = __builtin_LINE()) {
  using unet::simt::Machine;
  return unet::simt::machine().barrier_reduce(Machine::Reduce::kCount, vote, line);
}
UNET_SIMT_RUNTIME inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
  using unet::simt::Collective;
  unet::simt::machine().collective(mask, Collective::kSync, line, nullptr, nullptr);
}

// --- shuffles and votes ---

namespace unet::simt {

template <class T>
struct Shuffle {
  T given, taken;
  unsigned from;
  int line;
};

template <class T>
UNET_SIMT_RUNTIME void shuffle_together(void* const* slots, unsigned mask) {
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!(mask >> lane & 1)) continue;
    auto& mine = *static_cast<Shuffle<T>*>(slots[lane]);
    if (mask >> mine.from & 1) {
      mine.taken = static_cast<Shuffle<T>*>(slots[mine.from])->given;
    } else {
      machine().fault("inactive-lane", "a shuffle from a lane outside its mask", nullptr,
                      mine.line);
    }
  }
}

template <class T>
UNET_SIMT_RUNTIME T shuffle(unsigned mask, T value, unsigned from, int line) {
  Shuffle<T> slot{value, value, from, line};
  machine().collective(mask, Collective::kShuffle, line, &slot, shuffle_together<T>);
  return slot.taken;
}

struct Vote {
  unsigned given, taken;
};

UNET_SIMT_RUNTIME inline void vote_together(void* const* slots, unsigned mask) {
  unsigned ballot = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (mask >> lane & 1 && static_cast<Vote*>(slots[lane])->given) ballot |= 1u << lane;
  }
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (mask >> lane & 1) static_cast<Vote*>(slots[lane])->taken = ballot;
  }
}

}  // namespace unet::simt

template <class T>
UNET_SIMT_RUNTIME T __shfl_sync(unsigned mask, T value, int from, int width = 32,
                                int line = __builtin_LINE()) {
  const unsigned lane = unet_simt_lane(), w = static_cast<unsigned>(width);
  return unet::simt::shuffle(mask, value,
                             (lane & ~(w - 1)) | (static_cast<unsigned>(from) & (w - 1)), line);
}
template <class T>
UNET_SIMT_RUNTIME T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                                    int line = __builtin_LINE()) {
  const unsigned lane = unet_simt_lane(), w = static_cast<unsigned>(width);
  const unsigned from = lane ^ static_cast<unsigned>(bits);
  return unet::simt::shuffle(mask, value, (from & ~(w - 1)) > (lane & ~(w - 1)) ? lane : from,
                             line);
}
template <class T>
UNET_SIMT_RUNTIME T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                                     int line = __builtin_LINE()) {
  const unsigned lane = unet_simt_lane(), w = static_cast<unsigned>(width);
  return unet::simt::shuffle(mask, value, (lane & (w - 1)) + delta < w ? lane + delta : lane, line);
}
template <class T>
UNET_SIMT_RUNTIME T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                                   int line = __builtin_LINE()) {
  const unsigned lane = unet_simt_lane(), w = static_cast<unsigned>(width);
  return unet::simt::shuffle(mask, value, (lane & (w - 1)) >= delta ? lane - delta : lane, line);
}
UNET_SIMT_RUNTIME inline unsigned __ballot_sync(unsigned mask, int vote,
                                                int line = __builtin_LINE()) {
  using namespace unet::simt;
  Vote slot{vote != 0, 0};
  machine().collective(mask, Collective::kVote, line, &slot, vote_together);
  return slot.taken;
}
UNET_SIMT_RUNTIME inline int __any_sync(unsigned mask, int vote, int line = __builtin_LINE()) {
  return __ballot_sync(mask, vote, line) != 0;
}
UNET_SIMT_RUNTIME inline int __all_sync(unsigned mask, int vote, int line = __builtin_LINE()) {
  return __ballot_sync(mask, vote, line) == mask;
}

// --- bits ---

UNET_SIMT_RUNTIME inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
UNET_SIMT_RUNTIME inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
UNET_SIMT_RUNTIME inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<std::uint64_t>(a) * b >> 32);
}
