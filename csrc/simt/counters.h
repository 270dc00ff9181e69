// How well the accesses of a warp fall together: a static model of the memory system, no time.
//
// What the lanes of a warp ask for at one place of the code is one request. In global memory it
// costs the sectors (32 bytes) that it touches; in shared memory as many wavefronts as the busiest
// of the 32 banks (4 bytes wide) has different words to give, where a request of 8 or 16 bytes a
// lane is served in two or four parts, of 16 or 8 lanes. Ideal are the sectors that as many
// different bytes need at least, and one wavefront for each part: cost / ideal is the bank factor.
//
// Lanes that ask at one place between the same two barriers, for the first, second, .. time, ask
// together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "simt/checker.h"

namespace unet::simt {

struct Traffic {
  std::string where;  // "file:line"
  bool is_shared = false;
  Access access = Access::kRead;
  int bytes = 0;  // of one lane
  std::uint64_t requests = 0;
  std::uint64_t cost = 0, ideal = 0;  // wavefronts or sectors
};

// Called by the checker, if Options::count is set.
void count_access(const void* address, std::size_t bytes, Access access, bool is_shared,
                  const void* pc);

// At the end of a block: its requests are complete.
void count_block();

// The traffic of each place since the last call.
std::vector<Traffic> take_traffic();

}  // namespace unet::simt
