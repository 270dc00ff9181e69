#include "simt/machine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <utility>

#include "simt/checker.h"
#include "simt/counters.h"
#include "simt/finding.h"
#include "simt/memory.h"

namespace unet::simt {

Machine& machine() {
  static Machine* instance = new Machine;  // never destroyed: kernels may run until the end
  return *instance;
}

const Position& Machine::here() const { return running_->at; }

char* Machine::shared_memory() { return shared_; }

std::string who() {
  const Position& at = machine().here();
  return machine().launch()->name + " block (" + std::to_string(at.block.x) + "," +
         std::to_string(at.block.y) + "," + std::to_string(at.block.z) + ") thread " +
         std::to_string(at.linear);
}

// --- launch and blocks ---

bool Machine::run(const Launch& launch) {
  if (!shared_) {
    void* memory = mmap(nullptr, kSharedSpan, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    shared_ = static_cast<char*>(memory);
  }
  const DeviceAccess access;
  ++statistics.launches;
  statistics.blocks_of[launch.name] += std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  launch_ = &launch;
  ended_ = false;
  launch_start = ++now;
  random_state_ = options.seed * 0x9e3779b97f4a7c15u | 1;
  count_ = launch.block.x * launch.block.y * launch.block.z;
  threads_.resize(count_);
  meetings_.resize((count_ + kWarp - 1) / kWarp);
  const dim3& grid = launch.grid;
  for (const std::size_t index : block_order(static_cast<std::size_t>(grid.x) * grid.y * grid.z)) {
    run_block({static_cast<unsigned>(index % grid.x),
               static_cast<unsigned>(index / grid.x % grid.y),
               static_cast<unsigned>(index / grid.x / grid.y)});
    if (ended_) break;
  }
  launch_ = nullptr;
  launch_start = ++now;
  return !ended_;
}

std::vector<std::size_t> Machine::block_order(std::size_t count) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (options.schedule == Schedule::kReverse) std::reverse(order.begin(), order.end());
  if (options.schedule == Schedule::kRandom) {
    for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  }
  return order;
}

void Machine::run_block(uint3 index) {
  ++statistics.blocks;
  const dim3& size = launch_->block;
  block_start = ++now;
  last_barrier = now - 1;
  alive_ = count_;
  at_barrier_ = 0;
  ready_.clear();
  first_ready_ = 0;
  for (auto& warp : meetings_) warp.clear();
  std::memset(shared_, 0xff, launch_->shared_bytes);  // NaN: nobody has written it
  if (launch_->checked) begin_shared_memory(launch_->shared_bytes);
  const bool from_last =
      options.schedule == Schedule::kReverse || options.schedule == Schedule::kLast;
  for (unsigned i = 0; i < count_; ++i) {
    Thread& thread = threads_[i];
    thread.at = {{i % size.x, i / size.x % size.y, i / size.x / size.y},
                 index,
                 size,
                 launch_->grid,
                 i,
                 i % kWarp,
                 i / kWarp};
    thread.state = State::kReady;
    thread.synced = 0;
    thread.synced_lanes = 0;
    thread.groups.clear();
    thread.copies.clear();
    thread.stack_pointer = prepared_stack(stacks_.top(static_cast<int>(i)), thread_main);
    ready_.push_back(from_last ? count_ - 1 - i : i);
  }
  leave_for(pick());
  running_ = nullptr;
  if (launch_->checked && options.count) count_block();
  if (!ended_ && alive_ > 0) report_deadlock();
}

void Machine::thread_main() {
  Machine& self = machine();
  self.is_inside = false;
  self.launch_->thread(self.launch_->parameters.get());
  self.is_inside = true;
  Thread& thread = *self.running_;
  if (!thread.groups.empty() || !thread.copies.empty()) {
    self.fault("copy-in-flight",
               "a thread ends with asynchronous copies that it has not waited for", nullptr,
               thread.line);
  }
  for (const Meeting& meeting : self.meetings_[thread.at.warp]) {
    if (meeting.mask >> thread.at.lane & 1) {
      self.end("lane-mask", "a thread ends while lanes of its warp wait for it", nullptr,
               meeting.line);
    }
  }
  thread.state = State::kEnded;
  --self.alive_;
  if (self.alive_ > 0 && self.at_barrier_ == self.alive_) self.release_barrier();
  self.leave_for(self.alive_ > 0 ? self.pick() : nullptr);
  std::abort();  // nobody switches to a thread that has ended
}

// --- scheduling ---

// Switches to `next`, or to run_block if it is null.
void Machine::leave_for(Thread* next) {
  Thread* const left = running_;
  if (left == next) return;
  ++statistics.switches;
  running_ = next;
  unet_simt_switch(left ? &left->stack_pointer : &caller_, next ? next->stack_pointer : caller_);
  is_inside = true;
}

Thread* Machine::pick() {
  const std::size_t waiting = ready_.size() - first_ready_;
  if (waiting == 0) return nullptr;
  if (options.schedule == Schedule::kRandom) {
    std::swap(ready_[first_ready_ + random() % waiting], ready_.back());
  }
  unsigned chosen;
  if (options.schedule == Schedule::kFirst || options.schedule == Schedule::kReverse) {
    chosen = ready_[first_ready_++];
    if (first_ready_ > 4 * kMostThreads) {
      ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(first_ready_));
      first_ready_ = 0;
    }
  } else {
    chosen = ready_.back();
    ready_.pop_back();
  }
  return &threads_[chosen];
}

void Machine::wait(State state, int line) {
  running_->state = state;
  running_->line = line;
  leave_for(pick());
}

void Machine::wake(Thread& thread) {
  thread.state = State::kReady;
  ready_.push_back(thread.at.linear);
}

std::uint64_t Machine::random() {  // xorshift64
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 7;
  random_state_ ^= random_state_ << 17;
  return random_state_;
}

// --- barriers ---

void Machine::barrier(int line) {
  const Inside inside;
  if (++at_barrier_ == alive_) {
    running_->state = State::kAtBarrier;
    running_->line = line;
    release_barrier();
    leave_for(pick());
  } else {
    wait(State::kAtBarrier, line);
  }
}

int Machine::barrier_reduce(Reduce reduce, int vote, int line) {
  const Inside inside;
  running_->vote = vote != 0;
  barrier(line);
  int sum = 0, voters = 0;
  for (const Thread& thread : threads_) {
    if (thread.state == State::kEnded) continue;
    sum += thread.vote;
    ++voters;
  }
  barrier(line);  // nobody votes again before all have counted
  if (reduce == Reduce::kCount) return sum;
  return reduce == Reduce::kAny ? sum > 0 : sum == voters;
}

void Machine::release_barrier() {
  ++statistics.barriers;
  int line = 0;
  bool diverges = false;
  for (Thread& thread : threads_) {
    if (thread.state != State::kAtBarrier) continue;
    diverges |= line != 0 && thread.line != line;
    line = line == 0 ? thread.line : std::min(line, thread.line);
  }
  if (diverges) {
    report("divergent-barrier", launch_->name + ": threads wait at different __syncthreads",
           nullptr, line);
  }
  if (alive_ < count_) {
    report("early-exit",
           launch_->name + ": " + std::to_string(count_ - alive_) +
               " threads ended before this barrier",
           nullptr, line);
  }
  at_barrier_ = 0;
  last_barrier = now++;
  for (Thread& thread : threads_) {
    if (thread.state == State::kAtBarrier) wake(thread);
  }
}

// --- warps ---

unsigned Machine::live_lanes(unsigned warp) const {
  unsigned live = 0;
  for (unsigned lane = 0; lane < kWarp && warp * kWarp + lane < count_; ++lane) {
    if (threads_[warp * kWarp + lane].state != State::kEnded) live |= 1u << lane;
  }
  return live;
}

void Machine::collective(unsigned mask, Collective kind, int line, void* slot, Together together) {
  const Inside inside;
  Thread& self = *running_;
  const unsigned mine = 1u << self.at.lane;
  if (!(mask & mine))
    end("lane-mask", "a warp operation whose mask lacks its caller", nullptr, line);
  if (mask & ~live_lanes(self.at.warp)) {
    end("lane-mask", "a warp operation that names lanes which have ended or do not exist", nullptr,
        line);
  }
  std::vector<Meeting>& warp = meetings_[self.at.warp];
  const bool fixed_line = kind == Collective::kTensor || kind == Collective::kLoadMatrix;
  auto meeting = std::find_if(warp.begin(), warp.end(), [&](const Meeting& m) {
    return m.mask == mask && m.kind == kind && (!fixed_line || m.line == line) &&
           !(m.arrived & mine);
  });
  if (meeting == warp.end()) meeting = warp.insert(warp.end(), {mask, 0, kind, line, {}});
  meeting->arrived |= mine;
  meeting->slots[self.at.lane] = slot;
  if (meeting->arrived != mask) {
    wait(State::kInCollective, line);
    return;
  }
  const Meeting complete = *meeting;
  warp.erase(meeting);
  ++statistics.collectives;
  if (together) together(complete.slots, mask);
  const std::uint32_t moment = now;
  if (kind == Collective::kSync) ++now;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!(mask >> lane & 1)) continue;
    Thread& thread = threads_[self.at.warp * kWarp + lane];
    if (kind == Collective::kSync) {
      thread.synced = moment;
      thread.synced_lanes = mask;
    }
    if (&thread != &self) wake(thread);
  }
}

// --- asynchronous copies ---

void Machine::copy_async(void* to, const void* from, int bytes, int source_bytes, const void* pc) {
  const Inside inside;
  const Copy copy{static_cast<char*>(to), static_cast<const char*>(from), bytes, source_bytes, pc};
  const auto is_aligned = [&](const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) % static_cast<unsigned>(bytes) == 0;
  };
  if (!is_aligned(to) || (source_bytes > 0 && !is_aligned(from))) {
    end("misaligned", "an asynchronous copy of " + std::to_string(bytes) + " bytes", pc);
  }
  if (launch_->checked) begin_copy(copy);
  if (options.eager_copies) {
    std::memcpy(to, from, static_cast<std::size_t>(source_bytes));
    std::memset(copy.to + source_bytes, 0, static_cast<std::size_t>(bytes - source_bytes));
  } else {
    std::memset(to, 0xff, static_cast<std::size_t>(bytes));
  }
  running_->copies.push_back(copy);
}

void Machine::commit_copies() {
  const Inside inside;
  running_->groups.push_back(std::exchange(running_->copies, {}));
}

void Machine::wait_for_copies(int groups_left) {
  const Inside inside;
  auto& groups = running_->groups;
  while (groups.size() > static_cast<std::size_t>(groups_left)) {
    finish_copies(groups.front());
    groups.erase(groups.begin());
  }
}

void Machine::finish_copies(const std::vector<Copy>& group) {
  for (const Copy& copy : group) {
    if (!options.eager_copies) {
      std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.source_bytes));
      std::memset(copy.to + copy.source_bytes, 0,
                  static_cast<std::size_t>(copy.bytes - copy.source_bytes));
    }
    if (launch_->checked) end_copy(copy);
  }
}

// --- what is wrong ---

void Machine::fault(const char* kind, const std::string& text, const void* pc, int line) {
  report(kind, text + ": " + who(), pc, line);
}

void Machine::end(const char* kind, const std::string& text, const void* pc, int line) {
  fault(kind, text, pc, line);
  ended_ = true;
  running_->state = State::kEnded;
  leave_for(nullptr);
  std::abort();
}

void Machine::report_deadlock() {
  std::map<std::pair<State, int>, int> waiting;
  for (const Thread& thread : threads_) {
    if (thread.state != State::kEnded) ++waiting[{thread.state, thread.line}];
  }
  std::string text = launch_->name + ": no thread can go on;";
  for (const auto& [where, count] : waiting) {
    text += " " + std::to_string(count) +
            (where.first == State::kAtBarrier ? " at __syncthreads" : " in a warp operation") +
            " in line " + std::to_string(where.second) + ";";
  }
  report("deadlock", text, nullptr, waiting.begin()->first.second);
  ended_ = true;
}

}  // namespace unet::simt
