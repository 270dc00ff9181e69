#include "simt/recording.h"

#include <dlfcn.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <vector>

#include "simt/checker.h"
#include "simt/memory.h"

namespace unet::simt {
namespace {

struct Memory {
  const char* address;
  std::string before, written;
};

std::unique_ptr<std::ofstream> record;

void put(std::uint64_t number) {
  record->write(reinterpret_cast<const char*>(&number), sizeof number);
}

void put(const char* bytes, std::size_t count) {
  put(count);
  record->write(bytes, static_cast<std::streamsize>(count));
}

void put(const std::string& bytes) { put(bytes.data(), bytes.size()); }

void put(const dim3& size) {
  for (const unsigned count : {size.x, size.y, size.z}) put(count);
}

void put_kernel(const void* kernel) {
  Dl_info module{};
  dladdr(kernel, &module);
  put(std::string(module.dli_fname ? module.dli_fname : ""));
  put(static_cast<std::uint64_t>(static_cast<const char*>(kernel) -
                                 static_cast<const char*>(module.dli_fbase)));
}

std::vector<Memory> memory_now() {
  std::vector<Memory> memory;
  for_allocations([&](const Allocation& allocation) {
    memory.push_back({allocation.begin, {allocation.begin, allocation.bytes}, {}});
    if (allocation.shadow.empty()) return;
    std::string& written = memory.back().written;
    written.resize(allocation.bytes);
    for (std::size_t i = 0; i < allocation.bytes; ++i) {
      written[i] = (allocation.shadow.cell(i).writer & (kKnown | kByHost)) != 0;
    }
  });
  return memory;
}

}  // namespace

bool record_launches(const std::string& path) {
  record.reset();
  if (path.empty()) return true;
  record = std::make_unique<std::ofstream>(path, std::ios::binary);
  return record->good();
}

bool run_recorded(const Launch& launch) {
  if (!record) return machine().run(launch);
  const DeviceAccess access;
  const std::vector<Memory> memory = memory_now();
  if (!machine().run(launch)) return false;
  put_kernel(launch.kernel);
  put(launch.name);
  put(launch.grid);
  put(launch.block);
  put(launch.shared_bytes);
  put(launch.arguments.size());
  for (const Argument& argument : launch.arguments) {
    put(static_cast<const char*>(argument.data), argument.bytes);
  }
  put(memory.size());
  for (const Memory& one : memory) {
    put(reinterpret_cast<std::uintptr_t>(one.address));
    put(one.before);
    put(one.written);
    put(one.address, one.before.size());
  }
  record->flush();
  return true;
}

}  // namespace unet::simt
