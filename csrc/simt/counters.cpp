#include "simt/counters.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "simt/finding.h"

namespace unet::simt {
namespace {

constexpr std::uintptr_t kSector = 32, kBanks = 32, kWord = 4;
constexpr std::uintptr_t kNone = ~std::uintptr_t{0};

struct Request {
  std::array<std::uintptr_t, kWarp> address;
  Request() { address.fill(kNone); }
};

// What one place of the code asks for, in the block that runs.
struct Requests {
  bool is_shared = false;
  Access access = Access::kRead;
  std::size_t bytes = 0;
  std::array<std::size_t, kWarp> times{};  // how often each lane has been there since `barrier`
  std::uint32_t barrier = 0;
  std::size_t before = 0;  // requests up to `barrier`
  std::vector<Request> list;
};

// A place of the code and which memory: an asynchronous copy reads one and writes the other.
using Place = std::pair<const void*, bool>;
std::map<std::pair<Place, unsigned>, Requests> running;  // by place and warp
std::map<Place, Traffic> totals;

std::uint64_t parts(std::uint64_t count, std::uint64_t size) { return (count + size - 1) / size; }

std::uint64_t sectors(const Request& request, std::size_t bytes, std::uint64_t& ideal) {
  std::set<std::uintptr_t> touched, distinct;
  for (const std::uintptr_t address : request.address) {
    if (address == kNone) continue;
    distinct.insert(address);
    for (std::uintptr_t s = address / kSector; s <= (address + bytes - 1) / kSector; ++s) {
      touched.insert(s);
    }
  }
  ideal += parts(distinct.size() * bytes, kSector);
  return touched.size();
}

std::uint64_t wavefronts(const Request& request, std::size_t bytes, std::uint64_t& ideal) {
  const std::size_t words = std::max<std::size_t>(1, bytes / kWord);
  const std::size_t lanes = kWarp / words;  // served together
  std::uint64_t cost = 0;
  for (std::size_t first = 0; first < kWarp; first += lanes) {
    std::set<std::uintptr_t> wanted;
    for (std::size_t lane = first; lane < first + lanes; ++lane) {
      if (request.address[lane] == kNone) continue;
      for (std::size_t i = 0; i < words; ++i) wanted.insert(request.address[lane] / kWord + i);
    }
    std::array<std::uint64_t, kBanks> load{};
    for (const std::uintptr_t word : wanted) ++load[word % kBanks];
    cost += *std::max_element(load.begin(), load.end());
    ideal += wanted.empty() ? 0 : 1;
  }
  return cost;
}

}  // namespace

void count_access(const void* address, std::size_t bytes, Access access, bool is_shared,
                  const void* pc) {
  const Position& here = machine().here();
  Requests& requests = running[{{pc, is_shared}, here.warp}];
  requests.is_shared = is_shared;
  requests.access = access;
  requests.bytes = bytes;
  if (requests.barrier != machine().last_barrier) {
    requests.barrier = machine().last_barrier;
    requests.before = requests.list.size();
    requests.times.fill(0);
  }
  const std::size_t time = requests.before + requests.times[here.lane]++;
  if (requests.list.size() <= time) requests.list.resize(time + 1);
  requests.list[time].address[here.lane] = reinterpret_cast<std::uintptr_t>(address);
}

void count_block() {
  for (const auto& [key, requests] : running) {
    Traffic& total = totals[key.first];
    total.is_shared = requests.is_shared;
    total.access = requests.access;
    total.bytes = static_cast<int>(requests.bytes);
    for (const Request& request : requests.list) {
      ++total.requests;
      total.cost +=
          (requests.is_shared ? wavefronts : sectors)(request, requests.bytes, total.ideal);
    }
  }
  running.clear();
}

std::vector<Traffic> take_traffic() {
  std::vector<Traffic> taken;
  for (auto& [place, traffic] : totals) {
    traffic.where = place_of(place.first);
    taken.push_back(std::move(traffic));
  }
  totals.clear();
  return taken;
}

}  // namespace unet::simt
