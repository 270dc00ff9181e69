// The functions that GCC calls at every access to memory in files compiled with -fsanitize=thread.
// Nothing else of that sanitizer is used, and its library is not linked. This file and the others
// of simt/ are compiled without it.
#include "simt/checker.h"

using unet::simt::Access;
using unet::simt::check_access;

#define UNET_HOOK(name, bytes, alignment, access)                           \
  void __tsan_##name(void* p) {                                             \
    check_access(p, bytes, alignment, access, __builtin_return_address(0)); \
  }
#define UNET_HOOKS(bytes)                                        \
  UNET_HOOK(read##bytes, bytes, bytes, Access::kRead)            \
  UNET_HOOK(write##bytes, bytes, bytes, Access::kWrite)          \
  UNET_HOOK(volatile_read##bytes, bytes, bytes, Access::kRead)   \
  UNET_HOOK(volatile_write##bytes, bytes, bytes, Access::kWrite) \
  UNET_HOOK(unaligned_read##bytes, bytes, 1, Access::kRead)      \
  UNET_HOOK(unaligned_write##bytes, bytes, 1, Access::kWrite)

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
UNET_HOOKS(1)
UNET_HOOKS(2)
UNET_HOOKS(4)
UNET_HOOKS(8)
UNET_HOOKS(16)
// Atomic operations are the host's alone: kernels of this project have none.
int __tsan_atomic32_fetch_add(volatile int* p, int value, int order) {
  return __atomic_fetch_add(p, value, order);
}
void __tsan_read_range(void* p, unsigned long bytes) {
  check_access(p, bytes, 1, Access::kRead, __builtin_return_address(0));
}
void __tsan_write_range(void* p, unsigned long bytes) {
  check_access(p, bytes, 1, Access::kWrite, __builtin_return_address(0));
}
}
