#include "simt/memory.h"

#include <sys/mman.h>

#include <cstring>
#include <map>

#include "simt/checker.h"
#include "simt/machine.h"

namespace unet::simt {
namespace {

constexpr std::size_t kPage = 4096;

std::size_t mapped_bytes(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

std::map<const char*, Allocation> allocations;  // by the beginning
int accesses = 0;                               // that live

void protect_all(int protection) {
  for (auto& [begin, allocation] : allocations) {
    mprotect(allocation.begin, mapped_bytes(allocation.bytes), protection);
  }
}

}  // namespace

Cell* Shadow::cells(std::size_t offset, std::size_t count, std::size_t& number) {
  const bool is_whole = offset % 4 == 0 && count % 4 == 0;
  if (shift_ == 2 && !is_whole) {
    std::vector<Cell> finer(4 * cells_.size());
    for (std::size_t i = 0; i < finer.size(); ++i) finer[i] = cells_[i / 4];
    cells_ = std::move(finer);
    shift_ = 0;
  }
  number = count >> shift_;
  return cells_.data() + (offset >> shift_);
}

DeviceAccess::DeviceAccess() {
  if (accesses++ == 0) protect_all(PROT_READ | PROT_WRITE);
}

DeviceAccess::~DeviceAccess() {
  if (--accesses == 0) protect_all(PROT_NONE);
}

DeviceMemory& device_memory() {
  static DeviceMemory memory;
  return memory;
}

void* allocate(std::size_t bytes, bool checked) {
  DeviceMemory& device = device_memory();
  if (device.used + bytes > device.total) return nullptr;
  // A page more, which nothing may touch: it keeps allocations apart.
  void* memory = mmap(nullptr, mapped_bytes(bytes) + kPage, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* begin = static_cast<char*>(memory);
  mprotect(begin + mapped_bytes(bytes), kPage, PROT_NONE);
  std::memset(begin, 0xff, bytes);
  if (accesses == 0) mprotect(begin, mapped_bytes(bytes), PROT_NONE);
  device.used += bytes;
  ++device.allocations;
  allocations[begin] = {begin, bytes, device.allocations, Shadow(checked ? bytes : 0)};
  return begin;
}

bool release(void* p) {
  const auto found = allocations.find(static_cast<const char*>(p));
  if (found == allocations.end()) return false;
  device_memory().used -= found->second.bytes;
  munmap(p, mapped_bytes(found->second.bytes) + kPage);
  allocations.erase(found);
  return true;
}

Allocation* allocation_of(const void* p) {
  const auto* address = static_cast<const char*>(p);
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return nullptr;
  Allocation& found = std::prev(next)->second;
  const auto offset = static_cast<std::size_t>(address - found.begin);
  return offset < mapped_bytes(found.bytes) + kPage ? &found : nullptr;
}

void for_allocations(const std::function<void(const Allocation&)>& visit) {
  for (const auto& [begin, allocation] : allocations) visit(allocation);
}

bool is_on_device(const void* p, std::size_t bytes) {
  const Allocation* allocation = allocation_of(p);
  return allocation != nullptr && allocation->holds(p, bytes);
}

void host_wrote(void* p, std::size_t bytes) {
  Allocation* allocation = allocation_of(p);
  if (allocation == nullptr || allocation->shadow.empty() || bytes == 0) return;
  std::size_t number;
  Cell* cell = allocation->shadow.cells(
      static_cast<std::size_t>(static_cast<char*>(p) - allocation->begin), bytes, number);
  for (; number > 0; --number, ++cell) *cell = {kByHost, 0, 0, 0};
}

}  // namespace unet::simt
