// Philox4x32-10, a counter-based random number generator: block i of the stream is a pure function
// of (seed, stream, i), so any thread or device can draw any part of it.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
// The functions are static: files of cpu/ are compiled once per instruction set and must not share
// code through the linker (cpu/simd.h).
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace unet {

struct PhiloxBlock {
  std::uint32_t word[4];
};

// One round: two 32x32 -> 64 bit multiplications, their halves crossed over.
UNET_HOST_DEVICE static inline PhiloxBlock philox_round(PhiloxBlock counter, std::uint32_t key0,
                                                        std::uint32_t key1) {
  const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter.word[0];
  const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter.word[2];
  return {{static_cast<std::uint32_t>(b >> 32) ^ counter.word[1] ^ key0,
           static_cast<std::uint32_t>(b),
           static_cast<std::uint32_t>(a >> 32) ^ counter.word[3] ^ key1,
           static_cast<std::uint32_t>(a)}};
}

UNET_HOST_DEVICE static inline PhiloxBlock philox4x32(PhiloxBlock counter, std::uint64_t key) {
  std::uint32_t key0 = static_cast<std::uint32_t>(key);
  std::uint32_t key1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    counter = philox_round(counter, key0, key1);
    key0 += 0x9E3779B9u;  // golden ratio
    key1 += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return counter;
}

}  // namespace unet
