// The checker: looks at every access of a checked launch.
//
// Kernels of a checked build are compiled with -fsanitize=thread, for which GCC calls a function at
// each access to memory. Its own library is not linked: access_hooks.cpp answers these calls, and
// asks here. For each few bytes a cell (memory.h) remembers the last writer and reader and when
// that was; an access is right if what ordered the two is known:
//
//   the same thread                                      always
//   the same block                                       a __syncthreads since
//   the same warp                                        a __syncwarp of both lanes since
//   another block of the same launch                     never
//   an earlier launch, the host                          always
#pragma once

#include <cstddef>
#include <cstdint>

#include "simt/machine.h"

namespace unet::simt {

constexpr std::size_t kSharedSpan = 256 << 10;  // bytes, more than any device has for a block

enum class Access { kRead, kWrite };

// What `Cell::writer` and `Cell::reader` hold beside the number of the thread.
enum CellFlag : std::uint32_t {
  kThreadBits = 0x3ff,
  kKnown = 1 << 10,         // there was one
  kByHost = 1 << 11,        // writer: the host, ordered before everything
  kInFlight = 1 << 12,      // writer: an asynchronous copy that is not waited for
  kSeveralLanes = 1 << 13,  // readers: more than one thread of one warp
  kSeveralWarps = 1 << 14,  // readers: of more than one warp
  kOtherBlock = 1 << 15,    // readers: of another block of this launch too
};

// An access of the running thread. `alignment`: what its address must be a multiple of; `pc`: in
// its code.
void check_access(const void* address, std::size_t bytes, std::size_t alignment, Access access,
                  const void* pc);

void begin_copy(const Copy& copy);
void end_copy(const Copy& copy);

// A block begins: nobody has written its shared memory.
void begin_shared_memory(std::size_t bytes);

}  // namespace unet::simt
