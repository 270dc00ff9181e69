// What the runtime finds wrong with a kernel or with a call of the host.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace unet::simt {

// Kinds, and what the real device would do:
//   race              two threads touch a place, one writes, nothing orders them: any value
//   out-of-bounds     outside of every allocation, or of the launch's shared memory
//   uninitialised     a read of what nobody has written
//   misaligned        an address that is no multiple of the access's size: an error there
//   host-access       a pointer to host memory
//   copy-in-flight    an asynchronous copy's place is touched before the copy is waited for
//   divergent-barrier threads wait at different __syncthreads: undefined
//   early-exit        threads ended before a barrier that others wait at: a rule of this project
//   deadlock          no thread can go on
//   lane-mask         a warp operation whose mask lacks its caller, or names a lane that has ended
//   inactive-lane     a shuffle from a lane outside its mask: undefined
//   partial-warp      a tensor-core operation without all 32 lanes: undefined
//   kernel-failure    anything else that a kernel does wrong
struct Finding {
  std::string kind;
  std::string text;
  std::string where;  // "file:line", or "" if unknown
  std::uint64_t count = 1;
};

// Notes a finding; one of the same kind at the same place only counts. `pc`: an address within the
// code that did it, or null if `line` is known instead.
void report(const char* kind, const std::string& text, const void* pc, int line = 0);

// All findings since the last call, in the order in which they came up.
std::vector<Finding> take_findings();

bool has_findings();

// "file:line" of an address within this program's code, by its debug information; "" without.
std::string place_of(const void* pc);

}  // namespace unet::simt
