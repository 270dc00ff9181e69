#include "simt/fiber.h"

#include <sys/mman.h>

#include <new>

#if !defined(__x86_64__)
#error "unet_simt_switch is written for x86-64; port it, or build without UNET_NATIVE_SIMT"
#endif

// A function call saves what the calling convention lets it destroy; what remains are these six
// registers and the stack pointer. (The floating-point control words are the same everywhere.)
asm(R"(
  .text
  .hidden unet_simt_switch
  .globl unet_simt_switch
  .type unet_simt_switch, @function
unet_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size unet_simt_switch, . - unet_simt_switch
)");

namespace unet::simt {
namespace {

constexpr std::size_t kPage = 4096, kSpan = kStackBytes + kPage;
constexpr int kSavedRegisters = 6;

}  // namespace

char* Stacks::top(int index) {
  if (index >= count_) grow(index + 1 > 1024 ? index + 1 : 1024);
  return memory_ + (static_cast<std::size_t>(index) + 1) * kSpan;
}

bool Stacks::contains(int index, const void* address) {
  const char* end = top(index);
  return address < end && address >= end - kStackBytes;
}

void Stacks::grow(int count) {
  void* memory = mmap(nullptr, count * kSpan, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<char*>(memory);
  for (int i = 0; i < count; ++i) mprotect(memory_ + i * kSpan, kPage, PROT_NONE);
  count_ = count;
}

void* prepared_stack(char* top, void (*entry)()) {
  // At the entry of a function the stack pointer is 8 past a multiple of 16, and the return address
  // lies there; here that is null.
  void** place = reinterpret_cast<void**>(top) - 1;
  *place = nullptr;
  *--place = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) *--place = nullptr;
  return place;
}

}  // namespace unet::simt
