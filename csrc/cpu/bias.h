// bias_diff[oc] (+)= sum of top_diff over all pixels, for every op with a bias.
//
// The rows are cut into a number of chunks that depends on the shape alone; each is summed by one
// thread into partial[chunk][OC], and the partial sums are added in order.
#pragma once

#include "core/context.h"
#include "core/view.h"
#include "cpu/parallel.h"
#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

constexpr int kBiasChunks = 64;

// Floats of workspace that bias_backward needs.
[[maybe_unused]] inline std::ptrdiff_t bias_workspace(int OC) {
  return static_cast<std::ptrdiff_t>(kBiasChunks) * OC;
}

// sum[V * kLanes] += `count` rows.
template <int V>
[[gnu::always_inline]] inline void add_vectors(const float* rows, int count, std::ptrdiff_t stride,
                                               float* sum) {
  vfloat acc[V];
  for (int v = 0; v < V; ++v) acc[v] = load(sum + v * kLanes);
  for (int r = 0; r < count; ++r) {
    for (int v = 0; v < V; ++v) acc[v] += load(rows + r * stride + v * kLanes);
  }
  for (int v = 0; v < V; ++v) store(sum + v * kLanes, acc[v]);
}

// sum[columns] += `count` rows, `stride` apart.
[[maybe_unused]] inline void add_rows(const float* rows, int count, std::ptrdiff_t stride,
                                      int columns, float* sum) {
  int c = 0;
  for (; c + 4 * kLanes <= columns; c += 4 * kLanes) {
    add_vectors<4>(rows + c, count, stride, sum + c);
  }
  for (; c + kLanes <= columns; c += kLanes) add_vectors<1>(rows + c, count, stride, sum + c);
  for (; c < columns; ++c) {
    for (int r = 0; r < count; ++r) sum[c] += rows[r * stride + c];
  }
}

[[maybe_unused]] inline void bias_backward(const Context& ctx, ConstView top_diff, bool accumulate,
                                           float* partial, Span bias_diff) {
  const int OC = top_diff.c, rows = top_diff.n * top_diff.h;
  const int chunks = min(rows, kBiasChunks);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads_for(ctx, top_diff.count()))
  for (int chunk = 0; chunk < chunks; ++chunk) {
    float* sum = partial + static_cast<std::ptrdiff_t>(chunk) * OC;
    for (int c = 0; c < OC; ++c) sum[c] = 0.0f;
    const int begin = static_cast<int>(static_cast<std::ptrdiff_t>(rows) * chunk / chunks);
    const int end = static_cast<int>(static_cast<std::ptrdiff_t>(rows) * (chunk + 1) / chunks);
    for (int row = begin; row < end; ++row) {
      add_rows(top_diff.pixel(row / top_diff.h, row % top_diff.h, 0), top_diff.w,
               top_diff.pixel_stride, OC, sum);
    }
  }
  for (int c = 0; c < OC; ++c) {
    float sum = accumulate ? bias_diff.data[c] : 0.0f;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      sum += partial[static_cast<std::ptrdiff_t>(chunk) * OC + c];
    }
    bias_diff.data[c] = sum;
  }
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA
