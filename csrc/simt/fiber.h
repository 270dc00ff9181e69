// Fibers: several stacks for one thread of the operating system, switched by hand. Each thread of a
// kernel is one, so that it can wait in the middle of a function for the others of its block.
#pragma once

#include <cstddef>

namespace unet::simt {

constexpr std::size_t kStackBytes = 64 << 10;

// Stacks for `count` fibers, each with an inaccessible page below it: an overflow ends the program
// instead of writing over a neighbour. They stay until the program ends. `top(i)` is where stack i,
// which grows downwards, begins.
class Stacks {
 public:
  char* top(int index);
  bool contains(int index, const void* address);

 private:
  void grow(int count);
  char* memory_ = nullptr;
  int count_ = 0;
};

// A stack pointer that, switched to, calls `entry` on the stack that begins at `top`. `entry` must
// not return: it ends by switching away for good.
void* prepared_stack(char* top, void (*entry)());

// Leaves the running fiber, whose stack pointer is stored in *left, for another one.
extern "C" void unet_simt_switch(void** left, void* entered);

}  // namespace unet::simt
