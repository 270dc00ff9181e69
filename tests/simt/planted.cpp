// Small kernels, each right or with one planted bug: what does the SIMT runtime say?
//
//   planted CASE SCHEDULE     prints the kinds of findings, then whether the result is wrong
//   planted                   lists the cases
//
// Compiled twice, without and with UNET_SIMT_CHECKED; tests/test_simt.py knows what must come out.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cuda/device_ops.h"
#include "simt/finding.h"

namespace unet::UNET_GPU {
namespace {

// --- device memory for a case ---

struct Floats {
  float* p = nullptr;
  int size;
  explicit Floats(int size, bool filled = true) : size(size) {
    cudaMalloc(reinterpret_cast<void**>(&p), size * sizeof(float));
    std::vector<float> values(size);
    for (int i = 0; i < size; ++i) values[i] = static_cast<float>(i);
    if (filled) cudaMemcpy(p, values.data(), size * sizeof(float), cudaMemcpyHostToDevice);
  }
  ~Floats() { cudaFree(p); }
  std::vector<float> read() const {
    std::vector<float> values(size);
    cudaMemcpy(values.data(), p, size * sizeof(float), cudaMemcpyDeviceToHost);
    return values;
  }
};

// Whether y differs from expected(i) somewhere.
template <class Expected>
bool differs(const Floats& y, Expected expected) {
  const auto values = y.read();
  for (int i = 0; i < y.size; ++i) {
    if (!(values[i] == expected(i))) return true;
  }
  return false;
}

// --- shared memory ---

struct Line {
  float at[64];
};

// Reverses 64 numbers through shared memory.
template <int Bug>
__global__ void reverse(const float* x, float* y) {
  auto& line = shared_memory<Line>();
  const int i = threadIdx.x;
  if (Bug != 2 || i != 5) line.at[i] = x[i];
  if (Bug != 1) __syncthreads();
  y[i] = line.at[63 - i + (Bug == 3)];
}

template <int Bug>
bool reversed() {
  Floats x(64), y(64);
  launch("reverse", reverse<Bug>, 1, 64, sizeof(Line), nullptr, x.p, y.p);
  return differs(y, [](int i) { return 63.0f - i; });
}

// Rotates twice through one buffer: it may be filled again only when all have read it.
template <int Bug>
__global__ void rotate_twice(const float* x, float* y) {
  auto& line = shared_memory<Line>();
  const int i = threadIdx.x;
  float value = x[i];
  for (int round = 0; round < 2; ++round) {
    line.at[i] = value;
    __syncthreads();
    value = line.at[(i + 33) % 64];
    if (Bug != 1) __syncthreads();
  }
  y[i] = value;
}

template <int Bug>
bool rotated_twice() {
  Floats x(64), y(64);
  launch("rotate_twice", rotate_twice<Bug>, 1, 64, sizeof(Line), nullptr, x.p, y.p);
  return differs(y, [](int i) { return static_cast<float>((i + 66) % 64); });
}

// Exchanges numbers within a warp, without a barrier of the block.
template <int Bug>
__global__ void reverse_in_warp(const float* x, float* y) {
  auto& line = shared_memory<Line>();
  const int i = threadIdx.x;
  line.at[i] = x[i];
  if (Bug != 1) __syncwarp();
  y[i] = line.at[i ^ 31];
}

template <int Bug>
bool reversed_in_warp() {
  Floats x(64), y(64);
  launch("reverse_in_warp", reverse_in_warp<Bug>, 1, 64, sizeof(Line), nullptr, x.p, y.p);
  return differs(y, [](int i) { return static_cast<float>(i ^ 31); });
}

// --- global memory ---

// y = 2 x by 128 threads. Bugs: all blocks write the first 64; one past the end; one before the
// beginning; nobody has written x; 16 bytes at an odd place; a read of what another block writes.
template <int Bug>
__global__ void twice(const float* x, float* y) {
  const int i = (Bug == 1 ? 0 : blockIdx.x * 64) + threadIdx.x;
  if (Bug == 4 && i == 3) {
    store4(y, load4(x + 1));
    return;
  }
  const float value = Bug == 5 && i < 64 ? y[i + 64] : x[i];
  y[Bug == 2 ? i + 1 : Bug == 3 ? i - 2048 : i] = 2 * value;
}

template <int Bug>
bool doubled() {
  Floats x(128), y(128);
  launch("twice", twice<Bug>, 2, 64, 0, nullptr, x.p, y.p);
  return differs(y, [](int i) { return 2.0f * i; });
}

bool doubled_nothing() {
  Floats x(128, false), y(128);
  launch("twice", twice<0>, 2, 64, 0, nullptr, x.p, y.p);
  return differs(y, [](int i) { return 2.0f * i; });
}

bool doubled_host_memory() {
  std::vector<float> x(128, 1.0f);
  Floats y(128);
  launch("twice", twice<0>, 2, 64, 0, nullptr, x.data(), y.p);
  return differs(y, [](int) { return 2.0f; });
}

bool doubled_after_free() {
  Floats y(128);
  float* freed;
  {
    Floats x(128);
    freed = x.p;
  }
  launch("twice", twice<0>, 2, 64, 0, nullptr, freed, y.p);
  return differs(y, [](int i) { return 2.0f * i; });
}

template <int Bug>
__global__ void set_bytes(unsigned char* y) {
  y[Bug ? threadIdx.x / 2 : threadIdx.x] = static_cast<unsigned char>(threadIdx.x);
}

template <int Bug>
bool bytes_set() {
  Floats y(16);
  launch("set_bytes", set_bytes<Bug>, 1, 64, 0, nullptr, reinterpret_cast<unsigned char*>(y.p));
  const auto values = y.read();
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (int i = 0; i < 64; ++i) {
    if (bytes[i] != i) return true;
  }
  return false;
}

// --- barriers and warps ---

template <int Bug>
__global__ void meet(float* y) {
  const unsigned i = threadIdx.x;
  if (Bug == 2 && i >= 32) return;
  if (Bug == 1 && i == 7) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  if (Bug == 3) {
    if (i == 3) {
      __syncthreads();
    } else if (i < 32) {
      __syncwarp();
    }
  }
  y[i] = static_cast<float>(i);
}

template <int Bug>
bool met() {
  Floats y(64);
  launch("meet", meet<Bug>, 1, 64, 0, nullptr, y.p);
  return differs(y, [](int i) { return static_cast<float>(i); });
}

// Sums over each warp. Bugs: a mask without the caller; a lane outside the mask; half the lanes
// gone; fewer lanes than the mask names.
template <int Bug>
__global__ void sum_warp(float* y) {
  const int lane = threadIdx.x % 32;
  float sum = 1;
  if (Bug == 3 && lane >= 16) return;
  for (int bits = 16; bits > 0; bits /= 2) {
    const unsigned mask = Bug == 1 ? 0xfffffffeu : Bug == 2 && lane < 16 ? 0xffffu : 0xffffffffu;
    if (Bug == 2 && lane >= 16) break;
    sum += __shfl_xor_sync(mask, sum, bits);
  }
  y[threadIdx.x] = sum;
}

template <int Bug>
bool warp_summed() {
  Floats y(Bug == 4 ? 16 : 64);
  launch("sum_warp", sum_warp<Bug>, 1, Bug == 4 ? 16 : 64, 0, nullptr, y.p);
  return differs(y, [](int) { return 32.0f; });
}

__global__ void vote(float* y) {
  const int i = threadIdx.x;
  const unsigned odd = __ballot_sync(0xffffffffu, i % 2);
  const int count = __syncthreads_count(i < 10), any = __syncthreads_or(i == 63);
  const int all = __syncthreads_and(i < 63);
  y[i] = (odd == 0xaaaaaaaau && any == 1 && all == 0 && __any_sync(~0u, i == 0) == (i < 32) &&
          __all_sync(~0u, i < 32) == (i < 32))
             ? static_cast<float>(count)
             : -1;
}

bool voted() {
  Floats y(64);
  launch("vote", vote, 1, 64, 0, nullptr, y.p);
  return differs(y, [](int) { return 10.0f; });
}

// --- asynchronous copies: a ring of three buffers of 64 floats, summed over 8 steps ---

struct Ring {
  float at[3][64];
};

// Bugs: waits for one group too few; no barrier after waiting; no barrier before a buffer is filled
// again; never waits; a copy of what lies at an odd place.
template <int Bug>
__global__ void sum_through_ring(const float* x, float* y) {
  auto& ring = shared_memory<Ring>();
  const int i = threadIdx.x, steps = 8;
  const auto fetch = [&](int step) {
    if (step < steps && i < 16) {
      copy16_async(ring.at[step % 3] + 4 * i, x + 64 * step + 4 * i + (Bug == 5), true);
    }
    commit_copies();
  };
  fetch(0);
  fetch(1);
  float sum = 0;
  for (int step = 0; step < steps; ++step) {
    if (Bug == 1) {
      wait_for_copies<2>();
    } else if (Bug != 4) {
      wait_for_copies<1>();
    }
    if (Bug != 2) __syncthreads();
    if (Bug != 3) fetch(step + 2);
    sum += ring.at[step % 3][63 - i];
    if (Bug == 3) fetch(step + 3);
  }
  wait_for_copies<0>();
  y[i] = sum;
}

template <int Bug>
bool summed_through_ring() {
  Floats x(64 * 9), y(64);
  launch("sum_through_ring", sum_through_ring<Bug>, 1, 64, sizeof(Ring), nullptr, x.p, y.p);
  return differs(y, [](int i) { return 8.0f * (63 - i) + 64 * 28; });
}

__global__ void forget_copy(const float* x, float* y) {
  auto& line = shared_memory<Line>();
  if (threadIdx.x < 16) copy16_async(line.at + 4 * threadIdx.x, x + 4 * threadIdx.x, true);
  commit_copies();
  y[threadIdx.x] = 1;
}

bool copy_forgotten() {
  Floats x(64), y(64);
  launch("forget_copy", forget_copy, 1, 64, sizeof(Line), nullptr, x.p, y.p);
  return differs(y, [](int) { return 1.0f; });
}

// --- tensor cores: D = A B, 16x8 by 8x8, small whole numbers, which are exact ---

template <int Bug>
__global__ void multiply(const float* a, const float* b, float* d) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  unsigned fa[4], fb[2];
  for (int i = 0; i < 4; ++i) {
    fa[i] = to_tf32(a[(g + (Bug == 1 ? 4 : 8) * (i % 2)) * 8 + t + 4 * (i / 2)]);
  }
  for (int i = 0; i < 2; ++i) fb[i] = to_tf32(b[(t + 4 * i) * 8 + g]);
  float sum[4] = {};
  multiply_tf32(sum, fa, fb);
  for (int i = 0; i < 4; ++i) d[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sum[i];
}

template <int Bug>
bool multiplied() {
  Floats a(128), b(64), d(128);
  launch("multiply", multiply<Bug>, 1, 32, 0, nullptr, a.p, b.p, d.p);
  return differs(d, [](int i) {
    double sum = 0;
    for (int k = 0; k < 8; ++k) sum += (i / 8 * 8.0 + k) * (k * 8.0 + i % 8);
    return static_cast<float>(sum);
  });
}

// The same with bfloat16, A (16 x 16) through ldmatrix; B is the identity beside zeros.
struct Halves {
  unsigned short at[16][24];
};

template <int Bug>
__global__ void multiply_halves(const float* a, float* d) {
  auto& halves = shared_memory<Halves>();
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  for (int i = lane; i < 256; i += 32) {
    halves.at[i / 16][i % 16] = static_cast<unsigned short>(__float_as_uint(a[i]) >> 16);
  }
  __syncwarp();
  unsigned fa[4], fb[2];
  const unsigned short* row = halves.at[lane % (Bug == 1 ? 8 : 16)] + lane / 16 * 8;
  load_matrices(fa, reinterpret_cast<const float*>(row));
  const unsigned one = 0x3f80;
  for (int i = 0; i < 2; ++i) {
    const int k = 2 * t + 8 * i;
    fb[i] = (k == g ? one : 0) | (k + 1 == g ? one << 16 : 0);
  }
  float sum[4] = {};
  multiply_bf16(sum, fa, fb);
  for (int i = 0; i < 4; ++i) d[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sum[i];
}

template <int Bug>
bool halves_multiplied() {
  Floats a(256), d(128);
  launch("multiply_halves", multiply_halves<Bug>, 1, 32, sizeof(Halves), nullptr, a.p, d.p);
  return differs(d, [](int i) { return static_cast<float>(i / 8 * 16 + i % 8); });
}

const std::map<std::string, bool (*)()> kCases = {
    {"reverse", reversed<0>},
    {"reverse: no barrier", reversed<1>},
    {"reverse: a place nobody writes", reversed<2>},
    {"reverse: one past shared memory", reversed<3>},
    {"rotate: right", rotated_twice<0>},
    {"rotate: filled again too early", rotated_twice<1>},
    {"warp exchange", reversed_in_warp<0>},
    {"warp exchange: no __syncwarp", reversed_in_warp<1>},
    {"twice", doubled<0>},
    {"twice: two blocks, one place", doubled<1>},
    {"twice: one past the end", doubled<2>},
    {"twice: before the beginning", doubled<3>},
    {"twice: 16 bytes at an odd place", doubled<4>},
    {"twice: reads what another block writes", doubled<5>},
    {"twice: nobody has written x", doubled_nothing},
    {"twice: x is host memory", doubled_host_memory},
    {"twice: x was freed", doubled_after_free},
    {"bytes", bytes_set<0>},
    {"bytes: two threads, one byte", bytes_set<1>},
    {"meet", met<0>},
    {"meet: two barriers", met<1>},
    {"meet: half the block has left", met<2>},
    {"meet: barrier against __syncwarp", met<3>},
    {"warp sum", warp_summed<0>},
    {"warp sum: mask without the caller", warp_summed<1>},
    {"warp sum: from a lane outside the mask", warp_summed<2>},
    {"warp sum: half the warp has left", warp_summed<3>},
    {"warp sum: half a warp", warp_summed<4>},
    {"votes", voted},
    {"ring", summed_through_ring<0>},
    {"ring: one wait too short", summed_through_ring<1>},
    {"ring: no barrier after the wait", summed_through_ring<2>},
    {"ring: filled again too early", summed_through_ring<3>},
    {"ring: no wait", summed_through_ring<4>},
    {"ring: copies from an odd place", summed_through_ring<5>},
    {"copy that is never waited for", copy_forgotten},
    {"tf32", multiplied<0>},
    {"tf32: wrong row of a fragment", multiplied<1>},
    {"bf16", halves_multiplied<0>},
    {"bf16: wrong row of ldmatrix", halves_multiplied<1>},
};

}  // namespace
}  // namespace unet::UNET_GPU

int main(int count, char** arguments) {
  using namespace unet;
  if (count < 3) {
    for (const auto& [name, run] : UNET_GPU::kCases) std::puts(name.c_str());
    return 0;
  }
  simt::machine().options.schedule = static_cast<simt::Schedule>(std::atoi(arguments[2]));
  simt::machine().options.eager_copies = count > 3 && std::strcmp(arguments[3], "eager") == 0;
  const bool is_wrong = UNET_GPU::kCases.at(arguments[1])();
  for (const simt::Finding& finding : simt::take_findings()) {
    std::printf("%s\t%s\t%s\n", finding.kind.c_str(), finding.where.c_str(), finding.text.c_str());
  }
  std::puts(is_wrong ? "wrong" : "right");
}
