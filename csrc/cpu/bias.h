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

// sum[V * kLanes] += all pixels of a row.
template <int V>
[[gnu::always_inline]] inline void add_pixels(const float* row, int pixels, std::ptrdiff_t stride,
                                              float* sum) {
  vfloat acc[V];
  for (int v = 0; v < V; ++v) acc[v] = load(sum + v * kLanes);
  for (int w = 0; w < pixels; ++w) {
    for (int v = 0; v < V; ++v) acc[v] += load(row + w * stride + v * kLanes);
  }
  for (int v = 0; v < V; ++v) store(sum + v * kLanes, acc[v]);
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
      const float* diff = top_diff.pixel(row / top_diff.h, row % top_diff.h, 0);
      int c = 0;
      for (; c + 4 * kLanes <= OC; c += 4 * kLanes) {
        add_pixels<4>(diff + c, top_diff.w, top_diff.pixel_stride, sum + c);
      }
      for (; c + kLanes <= OC; c += kLanes) {
        add_pixels<1>(diff + c, top_diff.w, top_diff.pixel_stride, sum + c);
      }
      for (; c < OC; ++c) {
        for (int w = 0; w < top_diff.w; ++w) sum[c] += diff[w * top_diff.pixel_stride + c];
      }
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
