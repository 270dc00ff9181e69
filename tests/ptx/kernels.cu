// Small kernels, each right or with one planted bug, for the PTX interpreter (tests/test_ptx.py).
//
// nvcc makes PTX of them; compiled for the SIMT runtime they are a program that runs the right ones
// and records the launches in the file that its argument names.
#include "cuda/device_ops.h"

#if !defined(__CUDACC__)
#include <cstdio>
#include <vector>

#include "simt/recording.h"
#endif

namespace unet::UNET_GPU {
namespace {

// --- memory: y[i] = 2 x[i] ---

enum class Scale { kRight, kNoGuard, kOddPlace, kUnwritten };

template <Scale Bug>
__global__ void scale(const float* x, float* y, int size) {
  const int i = 4 * static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (Bug != Scale::kNoGuard && i >= size) return;
  const float4 value = load4(x + i + (Bug == Scale::kOddPlace) + 4 * (Bug == Scale::kUnwritten));
  store4(y + i, make_float4(2 * value.x, 2 * value.y, 2 * value.z, 2 * value.w));
}

// --- shared memory: y is x from behind, in blocks of 64 ---

struct Line {
  float at[64];
};

enum class Reverse { kRight, kPastEnd, kUnwritten, kTwoBarriers, kEarlyExit };

template <Reverse Bug>
__global__ void reverse(const float* x, float* y) {
  auto& line = shared_memory<Line>();
  const int i = static_cast<int>(threadIdx.x), first = static_cast<int>(blockIdx.x) * 64;
  if (Bug != Reverse::kUnwritten || i != 5) line.at[i] = x[first + i];
  if (Bug == Reverse::kEarlyExit && i >= 32) return;
  if (Bug == Reverse::kTwoBarriers && x[first + i] > x[first + 40]) {
    __syncthreads();
    line.at[i] += 1;
  }
  __syncthreads();
  y[first + i] = line.at[63 - i + (Bug == Reverse::kPastEnd)];
}

// --- warps and blocks: sums and votes of x ---

enum class Together { kRight, kHalfAWarp, kWithoutCaller, kOutside };

template <Together Bug>
__global__ void together(const float* x, float* y) {
  const int i = static_cast<int>(threadIdx.x), lane = i % 32;
  const float value = x[i];
  float sum = value;
  unsigned lanes = 0xffffffffu;
  if (Bug == Together::kWithoutCaller) lanes = 0x0000ffffu;
  if (Bug == Together::kOutside) lanes = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  if (Bug != Together::kHalfAWarp || value > 5) {
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(lanes, sum, step);
  }
  const float above = __shfl_down_sync(0xffffffffu, value, 3);
  const float below = __shfl_up_sync(0xffffffffu, value, 5, 16);
  const float third = __shfl_sync(0xffffffffu, value, 3, 8);
  const unsigned odd = __ballot_sync(0xffffffffu, i % 3 == 1);
  const int votes = __any_sync(0xffffffffu, value > 40) + 2 * __all_sync(0xffffffffu, value > 40);
  __syncwarp();
  const int met = __syncthreads_or(value > 40) + 2 * __syncthreads_and(value > 40);
  const int count = __syncthreads_count(value > 40);
  float* to = y + 8 * i;
  store4(to, make_float4(sum, above, below, third));
  store4(to + 4, make_float4(static_cast<float>(odd & 0xffffffu), static_cast<float>(votes),
                             static_cast<float>(met), static_cast<float>(count)));
}

// --- tensor cores: C (16 x 8) = A (16 x depth) B', B given as (8 x depth), one warp ---

constexpr int kStages = 3, kStep = 8, kPitch = kStep + 4;

struct Stage {
  float a[16][kPitch], b[8][kPitch];
};
struct Ring {
  Stage stage[kStages];
};

enum class Product { kRight, kShortWait, kNoWait, kWrongRow, kOddRow };

// A step of 8 of the common dimension: a quad of A each lane, one of B each of the first 16. The
// last quads may reach past the depth, where zeros are written instead.
__device__ __forceinline__ void fetch(Stage& stage, const float* a, const float* b, int depth,
                                      int k, int lane) {
  const int row = lane / 2, column = k + lane % 2 * 4;
  const bool there = column < depth;
  copy16_async(&stage.a[row][lane % 2 * 4], there ? a + row * depth + column : a, there);
  if (lane >= 16) return;
  copy16_async(&stage.b[row][lane % 2 * 4], there ? b + row * depth + column : b, there);
}

template <Product Bug>
__global__ void product_tf32(const float* a, const float* b, float* c, int depth) {
  auto& ring = shared_memory<Ring>();
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const int steps = (depth + kStep - 1) / kStep;
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < steps) fetch(ring.stage[s], a, b, depth, s * kStep, lane);
    commit_copies();
  }
  float sum[4] = {0, 0, 0, 0};
  for (int s = 0; s < steps; ++s) {
    if (Bug != Product::kNoWait) wait_for_copies<kStages - 2 + (Bug == Product::kShortWait)>();
    __syncthreads();
    Stage& stage = ring.stage[s % kStages];
    const int next = s + kStages - 1;
    if (next < steps) fetch(ring.stage[next % kStages], a, b, depth, next * kStep, lane);
    commit_copies();
    const int matrix = lane / 8;
    const int row = lane % 8 + 8 * (Bug == Product::kWrongRow ? matrix / 2 : matrix % 2);
    const int column = 4 * (Bug == Product::kWrongRow ? matrix % 2 : matrix / 2);
    unsigned of_a[4];
    load_matrices(of_a, &stage.a[row][column] + (Bug == Product::kOddRow ? 1 : 0));
    for (unsigned& value : of_a) value = to_tf32(__uint_as_float(value));
    const unsigned of_b[2] = {to_tf32(stage.b[g][t]), to_tf32(stage.b[g][t + 4])};
    multiply_tf32(sum, of_a, of_b);
  }
  wait_for_copies<0>();
  store2(c + g * 8 + 2 * t, make_float2(sum[0], sum[1]));
  store2(c + (g + 8) * 8 + 2 * t, make_float2(sum[2], sum[3]));
}

// A (16 x 16) and B (8 x 16) of bfloat16, two in each word, the first in its lower half.
struct Halves {
  float a[16][12], b[8][8];
};

__global__ void product_bf16(const float* a, const float* b, float* c) {
  auto& halves = shared_memory<Halves>();
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  copy16_async(&halves.a[lane / 2][lane % 2 * 4], a + 4 * lane, true);
  if (lane < 16) copy16_async(&halves.b[lane / 2][lane % 2 * 4], b + 4 * lane, true);
  commit_copies();
  wait_for_copies<0>();
  __syncthreads();
  unsigned of_a[4];
  load_matrices(of_a, &halves.a[lane % 8 + lane / 8 % 2 * 8][lane / 16 * 4]);
  const unsigned of_b[2] = {__float_as_uint(halves.b[g][t]), __float_as_uint(halves.b[g][t + 4])};
  float sum[4] = {1, 2, 3, 4};
  multiply_bf16(sum, of_a, of_b);
  store2(c + g * 8 + 2 * t, make_float2(sum[0], sum[1]));
  store2(c + (g + 8) * 8 + 2 * t, make_float2(sum[2], sum[3]));
}

}  // namespace

// Where nvcc finds which kernels to make, and how they are launched: the right ones on the SIMT
// runtime too.
#if defined(__CUDACC__)
void* kernels[] = {
    (void*)scale<Scale::kRight>,
    (void*)scale<Scale::kNoGuard>,
    (void*)scale<Scale::kOddPlace>,
    (void*)scale<Scale::kUnwritten>,
    (void*)reverse<Reverse::kRight>,
    (void*)reverse<Reverse::kPastEnd>,
    (void*)reverse<Reverse::kUnwritten>,
    (void*)reverse<Reverse::kTwoBarriers>,
    (void*)reverse<Reverse::kEarlyExit>,
    (void*)together<Together::kRight>,
    (void*)together<Together::kHalfAWarp>,
    (void*)together<Together::kWithoutCaller>,
    (void*)together<Together::kOutside>,
    (void*)product_tf32<Product::kRight>,
    (void*)product_tf32<Product::kShortWait>,
    (void*)product_tf32<Product::kNoWait>,
    (void*)product_tf32<Product::kWrongRow>,
    (void*)product_tf32<Product::kOddRow>,
    (void*)product_bf16,
};
#else
namespace {

struct Floats {
  float* p = nullptr;
  explicit Floats(int size, float first = 0, float step = 0) {
    cudaMalloc(reinterpret_cast<void**>(&p), size * sizeof(float));
    std::vector<float> values(size);
    for (int i = 0; i < size; ++i) values[i] = first + step * static_cast<float>(i * 7919 % 1009);
    if (step != 0) cudaMemcpy(p, values.data(), size * sizeof(float), cudaMemcpyHostToDevice);
  }
  ~Floats() { cudaFree(p); }
  // Each word as two bfloat16 of about its size.
  void halve(int size) const {
    std::vector<unsigned> words(size);
    cudaMemcpy(words.data(), p, size * sizeof(unsigned), cudaMemcpyDeviceToHost);
    for (unsigned& word : words) word = (word & 0xffff0000u) | (word >> 16 ^ 0x0055u);
    cudaMemcpy(p, words.data(), size * sizeof(unsigned), cudaMemcpyHostToDevice);
  }
};

void run_the_right_ones() {
  const Floats x(256, -30, 0.125f), y(2048);
  launch("scale", scale<Scale::kRight>, 2, 32, 0, nullptr, x.p, y.p, 200);
  launch("reverse", reverse<Reverse::kRight>, 3, 64, sizeof(Line), nullptr, x.p, y.p);
  launch("together", together<Together::kRight>, 1, 96, 0, nullptr, x.p, y.p);
  for (int depth : {4, 8, 44, 64}) {
    const Floats a(16 * depth, -3, 0.0071f), b(8 * depth, 2, -0.0093f), c(128);
    launch("product_tf32", product_tf32<Product::kRight>, 1, 32, sizeof(Ring), nullptr, a.p, b.p,
           c.p, depth);
    cudaDeviceSynchronize();
  }
  const Floats a(128, -3, 0.0071f), b(64, 2, -0.0093f), c(128);
  a.halve(128);
  b.halve(64);
  launch("product_bf16", product_bf16, 1, 32, sizeof(Halves), nullptr, a.p, b.p, c.p);
  cudaDeviceSynchronize();
}

}  // namespace
#endif
}  // namespace unet::UNET_GPU

#if !defined(__CUDACC__)
int main(int, char** arguments) {
  if (!unet::simt::record_launches(arguments[1])) return 1;
  unet::UNET_GPU::run_the_right_ones();
  unet::simt::record_launches("");
  return cudaPeekAtLastError() == cudaSuccess ? 0 : 1;
}
#endif
