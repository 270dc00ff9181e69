// The memory of the device, and what the checker remembers about it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace unet::simt {

// What happened last to a few bytes. The flags say who `writer` and `reader` were; `written` and
// `read` say when, by Machine::now.
struct Cell {
  std::uint32_t writer = 0, written = 0, reader = 0, read = 0;
};

// A cell for every four bytes, or for every byte once single bytes are accessed.
class Shadow {
 public:
  explicit Shadow(std::size_t bytes = 0) { reset(bytes); }
  void reset(std::size_t bytes) {
    shift_ = 2;
    cells_.assign((bytes + 3) / 4, {});
  }
  bool empty() const { return cells_.empty(); }
  // Cells of the bytes [offset, offset + count): [first, last].
  Cell* cells(std::size_t offset, std::size_t count, std::size_t& number);
  const Cell& cell(std::size_t offset) const { return cells_[offset >> shift_]; }

 private:
  int shift_ = 2;
  std::vector<Cell> cells_;
};

struct Allocation {
  char* begin = nullptr;
  std::size_t bytes = 0;
  int number = 0;  // counted from 1, for messages
  Shadow shadow;   // empty unless checked

  bool holds(const void* p, std::size_t count) const {
    const std::size_t offset = static_cast<std::size_t>(static_cast<const char*>(p) - begin);
    return offset < bytes && count <= bytes - offset;
  }
};

// Memory on the device, filled with NaN, or null if there are not so many bytes left.
void* allocate(std::size_t bytes, bool checked);

// Returns whether `p` was the beginning of an allocation.
bool release(void* p);

// The allocation that an address lies in, or null. `p` may lie past its end by up to a page.
Allocation* allocation_of(const void* p);

// All there are, by their addresses.
void for_allocations(const std::function<void(const Allocation&)>& visit);

// Whether [p, p + bytes) lies within one allocation.
bool is_on_device(const void* p, std::size_t bytes);

// The host, or a copy by the device's copy engine, has written [p, p + bytes).
void host_wrote(void* p, std::size_t bytes);

// While one lives, the device's memory can be read and written: kernels and copies run within one.
// The host cannot otherwise: it is killed by SIGSEGV, as beside a real device.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

struct DeviceMemory {
  std::size_t total = std::size_t{8} << 30;  // bytes that the device has
  std::size_t used = 0;
  int allocations = 0;  // so far
};
DeviceMemory& device_memory();

}  // namespace unet::simt
