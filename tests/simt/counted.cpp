// Accesses of known cost: what do the SIMT runtime's counters say?
//
//   counted CASE     prints the traffic of the lines that are marked "counted": is shared, is
//   write,
//                    bytes of a lane, requests, cost, ideal
//   counted          lists the cases
//
// Compiled for the checker; tests/test_simt.py knows what must come out.
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cuda/device_ops.h"
#include "simt/counters.h"

namespace unet::UNET_GPU {
namespace {

constexpr int kFloats = 2048;

struct Words {
  float at[kFloats];
};

__device__ void fill(Words& words) {
  for (int i = threadIdx.x; i < kFloats; i += blockDim.x) words.at[i] = static_cast<float>(i);
  __syncthreads();
}

// Lane i reads word `stride` * i, from `first` on.
__global__ void read_shared(int stride, int first, float* y) {
  auto& words = shared_memory<Words>();
  fill(words);
  y[threadIdx.x] = words.at[first + stride * static_cast<int>(threadIdx.x)];  // counted shared
}

// Lane i reads 16 bytes from word `stride` * i on.
__global__ void read_shared4(int stride, float* y) {
  auto& words = shared_memory<Words>();
  fill(words);
  const float4 four = load4(words.at + stride * static_cast<int>(threadIdx.x));  // counted shared
  y[threadIdx.x] = four.x + four.w;
}

__global__ void read_global(const float* x, int stride, int first, float* y) {
  const float value = x[first + stride * static_cast<int>(threadIdx.x)];  // counted global
  y[threadIdx.x] = value;
}

__global__ void read_global4(const float* x, int stride, float* y) {
  const float4 four = load4(x + stride * static_cast<int>(threadIdx.x));  // counted global
  y[threadIdx.x] = four.x + four.w;
}

// Half of the lanes read in the first round, all in the second: two requests, for a barrier parts
// them.
__global__ void read_in_rounds(const float* x, int rounds, float* y) {
  float sum = 0;
  for (int round = 0; round < rounds; ++round) {
    if (round == 1 || threadIdx.x < 16) sum += x[threadIdx.x];  // counted global
    __syncthreads();
  }
  y[threadIdx.x] = sum;
}

__global__ void copy_rows(const float* x, int stride, float* y) {
  auto& words = shared_memory<Words>();
  float* const to = words.at + stride * static_cast<int>(threadIdx.x);
  copy16_async(to, x + 4 * threadIdx.x, true);  // counted shared
  commit_copies();
  wait_for_copies<0>();
  __syncthreads();
  y[threadIdx.x] = *to;
}

// ldmatrix of four matrices with rows of 16 bytes, `pitch` words apart.
__global__ void read_matrices(int pitch, float* y) {
  auto& words = shared_memory<Words>();
  fill(words);
  unsigned four[4];
  load_matrices(four, words.at + pitch * static_cast<int>(threadIdx.x));  // counted shared
  y[threadIdx.x] = __uint_as_float(four[0]);
}

template <class... Parameters, class... Arguments>
void run(void (*kernel)(Parameters...), Arguments... arguments) {
  launch("counted", kernel, 1, 32, sizeof(Words), nullptr, arguments...);
  cudaDeviceSynchronize();
}

float* floats(int count) {
  void* p = nullptr;
  const std::vector<float> zeros(count);
  cudaMalloc(&p, count * sizeof(float));
  cudaMemcpy(p, zeros.data(), count * sizeof(float), cudaMemcpyHostToDevice);
  return static_cast<float*>(p);
}

const std::map<std::string, std::function<void(float* x, float* y)>> kCases = {
    {"shared: neighbours", [](float*, float* y) { run(read_shared, 1, 0, y); }},
    {"shared: one word", [](float*, float* y) { run(read_shared, 0, 5, y); }},
    {"shared: every second word", [](float*, float* y) { run(read_shared, 2, 0, y); }},
    {"shared: one bank", [](float*, float* y) { run(read_shared, 32, 0, y); }},
    {"shared: a column, padded", [](float*, float* y) { run(read_shared, 33, 0, y); }},
    {"shared 16: neighbours", [](float*, float* y) { run(read_shared4, 4, y); }},
    {"shared 16: one place", [](float*, float* y) { run(read_shared4, 0, y); }},
    {"shared 16: every second", [](float*, float* y) { run(read_shared4, 8, y); }},
    {"shared 16: a column", [](float*, float* y) { run(read_shared4, 32, y); }},
    {"shared 16: a column, padded", [](float*, float* y) { run(read_shared4, 36, y); }},
    {"copies: neighbours", [](float* x, float* y) { run(copy_rows, x, 4, y); }},
    {"copies: a column", [](float* x, float* y) { run(copy_rows, x, 32, y); }},
    {"matrices: rows of 64 bytes", [](float*, float* y) { run(read_matrices, 16, y); }},
    {"matrices: padded rows", [](float*, float* y) { run(read_matrices, 20, y); }},
    {"global: neighbours", [](float* x, float* y) { run(read_global, x, 1, 0, y); }},
    {"global: one float late", [](float* x, float* y) { run(read_global, x, 1, 1, y); }},
    {"global: one word", [](float* x, float* y) { run(read_global, x, 0, 0, y); }},
    {"global: a sector each", [](float* x, float* y) { run(read_global, x, 8, 0, y); }},
    {"global 16: neighbours", [](float* x, float* y) { run(read_global4, x, 4, y); }},
    {"global 16: half a sector each", [](float* x, float* y) { run(read_global4, x, 8, y); }},
    {"global: rounds", [](float* x, float* y) { run(read_in_rounds, x, 2, y); }},
};

}  // namespace
}  // namespace unet::UNET_GPU

int main(int count, char** arguments) {
  using namespace unet;
  if (count < 2) {
    for (const auto& [name, run] : UNET_GPU::kCases) std::puts(name.c_str());
    return 0;
  }
  simt::machine().options.count = true;
  UNET_GPU::kCases.at(arguments[1])(UNET_GPU::floats(1024), UNET_GPU::floats(32));
  for (const simt::Traffic& t : simt::take_traffic()) {
    std::printf("%s\t%d\t%d\t%d\t%d\t%d\t%d\n", t.where.c_str(), int(t.is_shared),
                int(t.access == simt::Access::kWrite), t.bytes, int(t.requests), int(t.cost),
                int(t.ideal));
  }
}
