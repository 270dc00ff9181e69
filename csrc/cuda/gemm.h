// The matrix product of a block, in exact float32: C (rows x columns) += A B, from shared memory.
//
//   block   4 x Warps warps: 128 rows x 64*Warps columns
//   warp    32 rows x 64 columns, lanes as 4 rows of 8
//   thread  8 x 8: rows 4*ty + {0..3} and 16 more, columns 4*tx + {0..3} and 32 more, so that the
//           eight lanes that are served together read one float4 of A and 128 bytes in a row of B
//   step    8 of the common dimension, of which A and B are kept in two buffers: one is computed
//           with while the next is on its way through registers
//
// Per step and thread: 512 multiply-adds on 32 float4 of shared memory. A lies transposed,
// [k][row], with rows of 4 more floats than needed: writes of 16 rows x 2 quads then meet each bank
// once.
#pragma once

#include "cuda/device_ops.h"

namespace unet::UNET_GPU {
namespace {

constexpr int kDepth = 8;  // of a step

template <int Warps>
struct Tiling {
  static constexpr int kRows = 128, kColumns = 64 * Warps, kThreads = 128 * Warps;
  // Quads, four elements in a row, that a thread brings for a step.
  static constexpr int kQuadsOfA = kRows * kDepth / 4 / kThreads;
  static constexpr int kQuadsOfB = kColumns * kDepth / 4 / kThreads;
  static_assert(kQuadsOfB == 1 && kQuadsOfA * Warps == 2, "the loaders rely on it");

  struct Stage {
    float a[kDepth][kRows + 4];
    float b[kDepth][kColumns + 4];
  };
  struct Shared {
    Stage stage[2];
  };
};

// Which part of the block's tile a thread computes.
struct ThreadTile {
  int row, column;  // of its first element
  float sum[8][8] = {};

  __device__ __forceinline__ explicit ThreadTile(int thread)
      : row(thread / 32 % 4 * 32 + thread % 32 / 8 * 4),
        column(thread / 128 * 64 + thread % 8 * 4) {}
  __device__ __forceinline__ int row_of(int i) const { return row + i % 4 + i / 4 * 16; }
  __device__ __forceinline__ int column_of(int j) const { return column + j % 4 + j / 4 * 32; }
};

__device__ __forceinline__ void spread(float4 value, float* to) {
  to[0] = value.x;
  to[1] = value.y;
  to[2] = value.z;
  to[3] = value.w;
}

// Stores the quads of A that a thread brings, four of the common dimension from `quad` on for rows
// that lie kThreads/2 apart, transposed.
template <class T, class Stage>
__device__ __forceinline__ void store_rows(Stage& stage, const float4 (&value)[T::kQuadsOfA],
                                           int quad, int thread) {
#pragma unroll
  for (int i = 0; i < T::kQuadsOfA; ++i) {
    float four[4];
    spread(value[i], four);
    const int row = thread / 2 + i * (T::kThreads / 2);
#pragma unroll
    for (int k = 0; k < 4; ++k) stage.a[quad + k][row] = four[k];
  }
}

// One step.
template <class Stage>
__device__ __forceinline__ void multiply(const Stage& stage, ThreadTile& tile) {
#pragma unroll
  for (int k = 0; k < kDepth; ++k) {
    float a[8], b[8];
    spread(load4(&stage.a[k][tile.row]), a);
    spread(load4(&stage.a[k][tile.row + 16]), a + 4);
    spread(load4(&stage.b[k][tile.column]), b);
    spread(load4(&stage.b[k][tile.column + 32]), b + 4);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) tile.sum[i][j] += a[i] * b[j];
    }
  }
}

// Four elements from `p`, of which the first `count` exist; with kVector, all or none, in one load.
template <bool kVector>
__device__ __forceinline__ float4 load_quad(const float* p, int count) {
  if (kVector) return count > 0 ? load4(p) : make_float4(0, 0, 0, 0);
  return make_float4(count > 0 ? p[0] : 0.0f, count > 1 ? p[1] : 0.0f, count > 2 ? p[2] : 0.0f,
                     count > 3 ? p[3] : 0.0f);
}

// The same for stores.
template <bool kVector>
__device__ __forceinline__ void store_quad(float* p, float4 value, int count) {
  if constexpr (kVector) {
    if (count > 0) store4(p, value);
  } else {
    if (count > 0) p[0] = value.x;
    if (count > 1) p[1] = value.y;
    if (count > 2) p[2] = value.z;
    if (count > 3) p[3] = value.w;
  }
}

// Whether all quads of a view's channels can be loaded and stored at once. The stride of a
// dimension with one element is never used, and may be any.
template <class T>
bool has_quads(const BasicView<T>& view) {
  const auto fits = [](int size, std::ptrdiff_t stride) { return size == 1 || stride % 4 == 0; };
  return view.c % 4 == 0 && fits(view.w, view.pixel_stride) && fits(view.h, view.row_stride) &&
         fits(view.n, view.image_stride) && reinterpret_cast<std::uintptr_t>(view.data) % 16 == 0;
}

inline unsigned blocks_for(std::ptrdiff_t count, int size) {
  return unsigned((count + size - 1) / size);
}

}  // namespace
}  // namespace unet::UNET_GPU
