// The machine: runs a launch block by block, each thread of a block as a fiber.
//
// A thread runs until it has to wait (barrier, warp operation, end); then another one is picked, by
// one of four schedules. A kernel that is right gives the same result under all of them; one that
// lacks a barrier is likely to differ under some, and is found by the checker (checker.h) under
// any. Everything happens on one thread of the operating system, so that a run can be repeated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "simt/fiber.h"
#include "simt/vector_types.h"

// What belongs to the runtime and is compiled with kernels: its accesses are not the kernel's, and
// would become so if it were inlined.
#if UNET_SIMT_CHECKED
#define UNET_SIMT_RUNTIME __attribute__((noinline, no_sanitize("thread")))
#else
#define UNET_SIMT_RUNTIME
#endif

namespace unet::simt {

constexpr unsigned kWarp = 32, kMostThreads = 1024;
constexpr unsigned kWholeWarp = 0xffffffffu;

// Which thread goes on: the one that has waited longest, the one that has waited least, as kFirst
// but blocks and threads begin from the last, or any by (seed, what happened so far).
enum class Schedule { kFirst, kLast, kReverse, kRandom };

struct Options {
  Schedule schedule = Schedule::kFirst;
  std::uint64_t seed = 1;
  bool eager_copies = false;  // asynchronous copies at once, else as late as allowed
  bool count = false;         // bank conflicts and sectors, see counters.h; checked launches only
};

struct Statistics {
  std::uint64_t launches = 0, blocks = 0, switches = 0, barriers = 0, collectives = 0, accesses = 0;
  std::map<std::string, std::uint64_t> blocks_of;  // of the launches of a name
};

// A parameter of a kernel, as its threads read it.
struct Argument {
  const void* data;
  std::size_t bytes;
};

// A launch as the host asks for it. `thread` runs one thread of the kernel, with the arguments that
// lie in `parameters`, which its threads may read.
struct Launch {
  std::string name;
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  bool checked = false;
  void (*thread)(void* parameters) = nullptr;
  std::shared_ptr<void> parameters;
  std::size_t parameter_bytes = 0;
  const void* kernel = nullptr;     // its code
  std::vector<Argument> arguments;  // within `parameters`
};

// Where a thread is.
struct Position {
  uint3 thread, block;
  dim3 block_size, grid_size;
  unsigned linear, lane, warp;  // number within the block; = warp * 32 + lane
};

// An asynchronous copy from global to shared memory: `bytes` are written, all but the first
// `source_bytes` of them as zeros.
struct Copy {
  char* to;
  const char* from;
  int bytes, source_bytes;
  const void* pc;
};

enum class State { kReady, kAtBarrier, kInCollective, kEnded };

struct Thread {
  Position at;
  State state = State::kReady;
  void* stack_pointer = nullptr;
  int line = 0;  // where it waits
  int vote = 0;  // of barrier_reduce
  // Since when, and with which lanes, what its warp wrote before is visible to it.
  std::uint32_t synced = 0;
  unsigned synced_lanes = 0;
  std::vector<std::vector<Copy>> groups;  // committed, the oldest first
  std::vector<Copy> copies;               // not yet committed
};

enum class Collective { kSync, kShuffle, kVote, kTensor, kLoadMatrix };
using Together = void (*)(void* const* slots, unsigned mask);

class Machine {
 public:
  Options options;
  Statistics statistics;

  // Runs all blocks to their end. Returns whether that came about: not after an error that the
  // device would not survive, or if threads wait for each other for ever.
  bool run(const Launch& launch);

  // --- called by the running thread ---
  const Position& here() const;
  char* shared_memory();
  void barrier(int line);
  enum class Reduce { kAny, kAll, kCount };
  int barrier_reduce(Reduce reduce, int vote, int line);
  // Waits for all lanes of `mask`; the last to come calls `together` on everyone's slot.
  void collective(unsigned mask, Collective kind, int line, void* slot, Together together);
  void copy_async(void* to, const void* from, int bytes, int source_bytes, const void* pc);
  void commit_copies();
  void wait_for_copies(int groups_left);
  // Reports what is wrong with the running thread; `end`: the launch ends here, as on the device.
  void fault(const char* kind, const std::string& text, const void* pc, int line = 0);
  [[noreturn]] void end(const char* kind, const std::string& text, const void* pc, int line = 0);

  // --- for the checker ---
  Thread* running() { return running_; }
  const Launch* launch() const { return launch_; }
  bool is_own_stack(const void* address) { return stacks_.contains(running_->at.linear, address); }
  // Set while the runtime works for a thread: what it touches, also through functions of the
  // standard library that were compiled with the kernels, is no access of the kernel.
  bool is_inside = false;
  // Counts what orders accesses; everything before `launch_start` is over.
  std::uint32_t now = 1, launch_start = 1, block_start = 1, last_barrier = 0;

 private:
  struct Meeting {
    unsigned mask, arrived;
    Collective kind;
    int line;
    void* slots[kWarp];
  };

  void run_block(uint3 index);
  std::vector<std::size_t> block_order(std::size_t count);
  void leave_for(Thread* next);
  Thread* pick();
  void wait(State state, int line);
  void wake(Thread& thread);
  void release_barrier();
  void finish_copies(const std::vector<Copy>& group);
  void report_deadlock();
  unsigned live_lanes(unsigned warp) const;
  std::uint64_t random();
  static void thread_main();

  Stacks stacks_;
  std::vector<Thread> threads_;
  std::vector<std::vector<Meeting>> meetings_;  // of each warp
  std::vector<unsigned> ready_;                 // [first_ready_, ..), by number
  std::size_t first_ready_ = 0;
  unsigned count_ = 0, alive_ = 0, at_barrier_ = 0;
  bool ended_ = false;
  std::uint64_t random_state_ = 1;
  Thread* running_ = nullptr;
  void* caller_ = nullptr;  // stack pointer of run_block
  const Launch* launch_ = nullptr;
  char* shared_ = nullptr;
};

Machine& machine();

// The runtime at work, from here to the end of the scope.
class Inside {
 public:
  Inside() : before_(machine().is_inside) { machine().is_inside = true; }
  ~Inside() { machine().is_inside = before_; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  const bool before_;
};

// "NAME block (x,y,z) thread i": of the running thread.
std::string who();

}  // namespace unet::simt
