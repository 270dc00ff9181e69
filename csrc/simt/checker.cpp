#include "simt/checker.h"

#include <link.h>

#include <string>
#include <utility>
#include <vector>

#include "simt/counters.h"
#include "simt/finding.h"
#include "simt/memory.h"

namespace unet::simt {
namespace {

Shadow shared_shadow;

// Where an access lies.
struct Place {
  Shadow* shadow = nullptr;  // null: not checked for races
  std::size_t offset = 0;
  bool is_shared = false;
  int allocation = 0;

  std::string text() const {
    return (is_shared ? std::string("shared memory") : "allocation " + std::to_string(allocation)) +
           " at byte " + std::to_string(offset);
  }
};

const char* name_of(Access access) { return access == Access::kRead ? "read" : "write"; }

std::string of_bytes(Access access, std::size_t bytes) {
  return std::string(name_of(access)) + " of " + std::to_string(bytes) + " bytes";
}

// Whether an address is that of a constant of this program, which kernels may read.
bool is_in_program(const void* address) {
  static const std::vector<std::pair<const char*, const char*>> segments = [] {
    std::vector<std::pair<const char*, const char*>> found;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* result) {
          auto* list = static_cast<std::vector<std::pair<const char*, const char*>>*>(result);
          std::vector<std::pair<const char*, const char*>> here;
          bool is_ours = false;
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const ElfW(Phdr) & segment = info->dlpi_phdr[i];
            if (segment.p_type != PT_LOAD || segment.p_flags & PF_W) continue;
            const auto* begin = reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr);
            here.emplace_back(begin, begin + segment.p_memsz);
            const auto* self = reinterpret_cast<const char*>(&check_access);
            is_ours |= self >= begin && self < here.back().second;
          }
          if (is_ours) *list = here;
          return is_ours ? 1 : 0;
        },
        &found);
    return found;
  }();
  for (const auto& [begin, end] : segments) {
    if (address >= begin && address < end) return true;
  }
  return false;
}

// Whether the running thread's access now comes after what thread `other` did at `time`.
bool is_ordered(std::uint32_t other, std::uint32_t time) {
  const Machine& m = machine();
  const Thread& self = *machine().running();
  if (time < m.launch_start) return true;
  if (time < m.block_start) return false;
  if (other == self.at.linear || time <= m.last_barrier) return true;
  return other / kWarp == self.at.warp && time <= self.synced &&
         (self.synced_lanes >> (other % kWarp) & 1);
}

void report_race(const char* what, const Place& place, std::uint32_t other, std::uint32_t time,
                 const void* pc) {
  const bool other_block = time < machine().block_start;
  machine().fault("race",
                  std::string(what) + " in " + place.text() + ", the other is " +
                      (other_block ? "in another block" : "thread " + std::to_string(other)) +
                      ", nothing orders them",
                  pc);
}

void check_read(Cell& cell, const Place& place, const void* pc) {
  const Machine& m = machine();
  const std::uint32_t self = machine().running()->at.linear;
  if (!(cell.writer & (kKnown | kByHost))) {
    machine().fault("uninitialised", "read of " + place.text() + ", which nobody has written", pc);
    cell.writer = kByHost;  // once is enough
  }
  const std::uint32_t writer = cell.writer & kThreadBits;
  if (!(cell.writer & kByHost) && !is_ordered(writer, cell.written)) {
    report_race("read after write", place, writer, cell.written, pc);
  }
  std::uint32_t others = 0;
  if (cell.reader & kKnown && cell.read >= m.launch_start) {
    others = cell.read < m.block_start ? static_cast<std::uint32_t>(kOtherBlock)
                                       : cell.reader & kOtherBlock;
  }
  const std::uint32_t reader = cell.reader & kThreadBits;
  if (!(cell.reader & kKnown) || cell.read <= m.last_barrier) {
    cell.reader = kKnown | self;
  } else if (reader != self) {
    const bool several = cell.reader & kSeveralWarps || reader / kWarp != self / kWarp;
    cell.reader = kKnown | self | (several ? kSeveralWarps : kSeveralLanes);
  }
  cell.reader |= others;
  cell.read = m.now;
}

// Whether a write now comes after all reads that the cell knows of.
bool comes_after_reads(const Cell& cell) {
  const Machine& m = machine();
  const Thread& self = *machine().running();
  if (!(cell.reader & kKnown) || cell.read < m.launch_start) return true;
  if (cell.read < m.block_start || cell.reader & kOtherBlock) return false;
  if (cell.read <= m.last_barrier) return true;
  if (cell.reader & kSeveralWarps) return false;
  const std::uint32_t reader = cell.reader & kThreadBits;
  if (cell.reader & kSeveralLanes) {
    return reader / kWarp == self.at.warp && cell.read <= self.synced &&
           self.synced_lanes == kWholeWarp;
  }
  return is_ordered(reader, cell.read);
}

void check_write(Cell& cell, const Place& place, std::uint32_t flags, const void* pc) {
  const std::uint32_t writer = cell.writer & kThreadBits;
  if (cell.writer & kKnown && !(cell.writer & kByHost) && !is_ordered(writer, cell.written)) {
    report_race("write after write", place, writer, cell.written, pc);
  }
  if (!comes_after_reads(cell)) {
    report_race("write after read", place, cell.reader & kThreadBits, cell.read, pc);
  }
  cell.writer = kKnown | machine().running()->at.linear | flags;
  cell.written = machine().now;
}

void check_cells(const Place& place, std::size_t bytes, Access access, std::uint32_t flags,
                 const void* pc) {
  std::size_t number;
  Cell* cell = place.shadow->cells(place.offset, bytes, number);
  for (; number > 0; --number, ++cell) {
    if (cell->writer & kInFlight) {
      machine().fault("copy-in-flight",
                      std::string(name_of(access)) + " of " + place.text() +
                          ", where an asynchronous copy goes that is not waited for",
                      pc);
      cell->writer &= ~static_cast<std::uint32_t>(kInFlight);
    }
    if (access == Access::kRead) {
      check_read(*cell, place, pc);
    } else {
      check_write(*cell, place, flags, pc);
    }
  }
}

// Where an access lies; ends the launch if that is nowhere. No shadow: nothing to check.
Place place_of(const char* address, std::size_t bytes, Access access, const void* pc) {
  Machine& m = machine();
  const auto in_shared = static_cast<std::size_t>(address - m.shared_memory());
  if (in_shared < kSharedSpan) {
    if (in_shared + bytes > m.launch()->shared_bytes) {
      m.end("out-of-bounds",
            of_bytes(access, bytes) + " at byte " + std::to_string(in_shared) +
                " of shared memory, of which the launch has " +
                std::to_string(m.launch()->shared_bytes) + " bytes",
            pc);
    }
    return {&shared_shadow, in_shared, true, 0};
  }
  if (Allocation* allocation = allocation_of(address)) {
    const auto offset = static_cast<std::size_t>(address - allocation->begin);
    if (!allocation->holds(address, bytes)) {
      m.end("out-of-bounds",
            of_bytes(access, bytes) + " at byte " + std::to_string(offset) + " of allocation " +
                std::to_string(allocation->number) + ", which has " +
                std::to_string(allocation->bytes) + " bytes",
            pc);
    }
    return {allocation->shadow.empty() ? nullptr : &allocation->shadow, offset, false,
            allocation->number};
  }
  const auto in_parameters =
      static_cast<std::size_t>(address - static_cast<const char*>(m.launch()->parameters.get()));
  const bool is_constant = in_parameters < m.launch()->parameter_bytes || is_in_program(address);
  if (access == Access::kRead && is_constant) return {};
  m.end("host-access", of_bytes(access, bytes) + " outside of the device's memory", pc);
}

void check_inside(const void* address, std::size_t bytes, std::size_t alignment, Access access,
                  const void* pc) {
  Machine& m = machine();
  ++m.statistics.accesses;
  if (reinterpret_cast<std::uintptr_t>(address) % alignment != 0) {
    m.end("misaligned", of_bytes(access, bytes) + " at an address that is no multiple of that", pc);
  }
  const Place place = place_of(static_cast<const char*>(address), bytes, access, pc);
  if (place.shadow == nullptr) return;
  if (m.options.count) count_access(address, bytes, access, place.is_shared, pc);
  check_cells(place, bytes, access, 0, pc);
}

}  // namespace

void check_access(const void* address, std::size_t bytes, std::size_t alignment, Access access,
                  const void* pc) {
  Machine& m = machine();
  if (m.running() == nullptr || m.is_inside || !m.launch()->checked) return;
  const Inside inside;
  if (m.is_own_stack(address)) return;
  check_inside(address, bytes, alignment, access, pc);
}

void begin_copy(const Copy& copy) {
  Machine& m = machine();
  if (copy.source_bytes > 0) {
    check_inside(copy.from, static_cast<std::size_t>(copy.source_bytes), 1, Access::kRead, copy.pc);
  }
  const auto bytes = static_cast<std::size_t>(copy.bytes);
  const Place place = place_of(copy.to, bytes, Access::kWrite, copy.pc);
  if (!place.is_shared)
    m.end("host-access", "an asynchronous copy not into shared memory", copy.pc);
  if (m.options.count) count_access(copy.to, bytes, Access::kWrite, true, copy.pc);
  check_cells(place, bytes, Access::kWrite, kInFlight, copy.pc);
}

void end_copy(const Copy& copy) {
  std::size_t number;
  const auto offset = static_cast<std::size_t>(copy.to - machine().shared_memory());
  Cell* cell = shared_shadow.cells(offset, static_cast<std::size_t>(copy.bytes), number);
  for (; number > 0; --number, ++cell) {
    cell->writer = kKnown | machine().running()->at.linear;
    cell->written = machine().now;
  }
}

void begin_shared_memory(std::size_t bytes) { shared_shadow.reset(bytes); }

}  // namespace unet::simt
