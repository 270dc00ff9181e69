// The matrix product of a block on tensor cores (sm_80 and newer): C (rows x columns) += A B, from
// a ring of shared memory that asynchronous copies fill. Operands are float32 in memory and rounded
// to nearest on their way into registers; sums are float32.
//
//   block   2 x 2 warps: 64*RowGroups rows x 64*ColumnGroups columns
//   warp    RowGroups x ColumnGroups groups of 32 x 32
//   group   2 x 4 products of 16 x 8. Which line (row or column) of the group stands where in a
//           product is free. A lane's registers belong to the lines c = lane / 4 of A and of B and
//           to the columns c = 2 t, 2 t + 1 of D, t = lane % 4; these are quads of the group:
//
//               line c of product j is line 16 (c %2) + 4 (c/2) + j of the group
//               (rows c and c + 8 of product a: j = 2 a, 2 a + 1)
//
//           so that operands are read as quads, and sums are 4 rows x two quads of columns whose
//           four lanes store 64 bytes in a row:
//
//               columns   0..3     4..7    8..11   12..15   16..19   20..23   24..27   28..31
//      rows  0.. 3       lane 0   lane 1   lane 2   lane 3   lane 0   lane 1   lane 2   lane 3
//            4.. 7       lane 8   lane 9   ..
//           16..19       lane 4   lane 5   ..
//
//   step    16 of the common dimension, k. Which k of a step stands where in a product is free as
//           well, as long as it is the same in A and B: a lane holds k = t + 4 q, q = 0..3.
//
// An operand lies in shared memory as it lay in global memory, in units of four floats, for both
// kinds without a conflict of banks, written or read:
//
//   KMajor     [line][k]: channels of a pixel. Read by ldmatrix: a matrix is a unit of eight lines,
//              all eight quads of a group, which lie in eight different columns of units:
//
//                unit  0..3      4..7          (8 units = 128 bytes, all banks)
//                      line 0    line 4        the four units of a line are XORed with line/8 %4
//                      line 1    line 5
//                      line 2    line 6
//                      line 3    line 7
//                      line 8    line 12  ..
//
//   LineMajor  [k][line]: channels of a pixel where k are pixels, or output channels of a weight.
//              Read as quads of lines, eight lanes at a time: two quads 16 lines apart of four k.
//              The units of a k are XORed with k %4.
//
// Static model of a step, cycles of a multiprocessor of sm_80 (products at 128 (tf32) or 256 (bf16)
// multiply-adds a cycle and quarter; shared memory at 128 bytes a cycle):
//
//   tile        tensor cores        shared memory
//   128 x 128   512 tf32, 256 bf16  384 = 4 warps x 16 x (64 + 64) floats read + 16 x 256 written
//   128 x  64   256       128       288
//    64 x  64   128        64       192
#pragma once

#include "cuda/device_ops.h"

namespace unet::UNET_GPU {
namespace {

constexpr int kTensorDepth = 16, kTensorThreads = 128;
constexpr int kStages = 4;  // of the ring; one is computed with while three are on their way

template <int RowGroups, int ColumnGroups>
struct TensorTiling {
  static constexpr int kRowGroups = RowGroups, kColumnGroups = ColumnGroups;
  static constexpr int kRows = 64 * RowGroups, kColumns = 64 * ColumnGroups;

  struct Stage {
    float a[kRows * kTensorDepth];
    float b[kColumns * kTensorDepth];
  };
  struct Shared {
    Stage stage[kStages];
  };
};

// Which of the eight quads of a group's lines belongs to line c of its products.
__device__ __forceinline__ int quad_of_group(int c) { return c % 2 * 4 + c / 2; }

// --- how an operand lies in shared memory ---

// [line][k].
template <int kLines>
struct KMajor {
  static constexpr int kCopies = kLines / 32;  // units that a thread brings for a step

  // What a thread brings with its copy i: k from `quad` on, of the line `line(i)`.
  int thread;
  __device__ __forceinline__ explicit KMajor(int thread) : thread(thread) {}
  __device__ __forceinline__ int k() const { return ((thread % 4) ^ (thread / 32)) * 4; }
  __device__ __forceinline__ int line(int i) const {
    return thread / 32 * 8 + thread / 4 % 2 * 4 + thread / 8 % 4 + 32 * i;
  }
  __device__ __forceinline__ float* to(float* operand, int i) const {
    return operand + 4 * (thread + kTensorThreads * i);
  }

  // Of the group that begins at line `first`, k = t + 4 q and t + 4 (q + 1) of the lane's quad of
  // lines: to[line][0 and 1].
  __device__ __forceinline__ static void read(const float* operand, int first, int q, int lane,
                                              unsigned (&to)[4][2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int line = first + 4 * quad_of_group(lane % 8) + 2 * half + lane / 16;
      const int unit =
          (line / 8 * 4 + line % 4) * 8 + line / 4 % 2 * 4 + ((q + lane / 8 % 2) ^ (line / 8 % 4));
      unsigned four[4];
      load_matrices(four, operand + 4 * unit);
      to[2 * half][0] = four[0];
      to[2 * half][1] = four[1];
      to[2 * half + 1][0] = four[2];
      to[2 * half + 1][1] = four[3];
    }
  }
};

// [k][line].
template <int kLines>
struct LineMajor {
  static constexpr int kCopies = kLines / 32;

  // What a thread brings with its copy i: lines from `line(i)` on, of its k.
  int thread;
  __device__ __forceinline__ explicit LineMajor(int thread) : thread(thread) {}
  __device__ __forceinline__ int k() const { return thread / 8; }
  __device__ __forceinline__ int line(int i) const { return thread % 8 * 4 + 32 * i; }
  __device__ __forceinline__ float* to(float* operand, int i) const {
    return operand + 4 * (thread / 8 * (kLines / 4) + ((thread % 8) ^ (thread / 8 % 4)) + 8 * i);
  }

  __device__ __forceinline__ static void read(const float* operand, int first, int q, int lane,
                                              unsigned (&to)[4][2]) {
    const int unit = first / 4 + (quad_of_group(lane / 4) ^ (lane % 4));
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int k = lane % 4 + 4 * (q + half);
      const float4 four = load4(operand + 4 * (k * (kLines / 4) + unit));
      to[0][half] = __float_as_uint(four.x);
      to[1][half] = __float_as_uint(four.y);
      to[2][half] = __float_as_uint(four.z);
      to[3][half] = __float_as_uint(four.w);
    }
  }
};

// --- the arithmetic: registers of a group for one product, [line][register] ---

struct Tf32 {
  static constexpr int kQuads = 2;  // of k in a product
  template <class Operand>
  __device__ __forceinline__ static void read(const float* operand, int first, int q, int lane,
                                              unsigned (&to)[4][2]) {
    Operand::read(operand, first, q, lane, to);
#pragma unroll
    for (int i = 0; i < 8; ++i) to[i / 2][i % 2] = to_tf32(__uint_as_float(to[i / 2][i % 2]));
  }
  __device__ __forceinline__ static void multiply(float (&d)[4], const unsigned (&a)[4],
                                                  const unsigned (&b)[2]) {
    multiply_tf32(d, a, b);
  }
};

struct Bf16 {
  static constexpr int kQuads = 4;
  template <class Operand>
  __device__ __forceinline__ static void read(const float* operand, int first, int q, int lane,
                                              unsigned (&to)[4][2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      unsigned both[4][2];
      Operand::read(operand, first, q + 2 * half, lane, both);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        to[i][half] = to_bf16(__uint_as_float(both[i][0]), __uint_as_float(both[i][1]));
      }
    }
  }
  __device__ __forceinline__ static void multiply(float (&d)[4], const unsigned (&a)[4],
                                                  const unsigned (&b)[2]) {
    multiply_bf16(d, a, b);
  }
};

// --- the product ---

// What a thread has of the block's tile.
template <class Tiling>
struct TensorTile {
  int lane, row, column;  // row, column: where its warp's part begins
  float sum[Tiling::kRowGroups][Tiling::kColumnGroups][2][4][4] = {};

  __device__ __forceinline__ explicit TensorTile(int thread)
      : lane(thread % 32),
        row(thread / 64 * 32 * Tiling::kRowGroups),
        column(thread / 32 % 2 * 32 * Tiling::kColumnGroups) {}

  // Calls body(row, column, sums) for each quad of columns of the thread's rows, row by row.
  template <class Body>
  __device__ __forceinline__ void for_quads(Body body) const {
#pragma unroll
    for (int group = 0; group < Tiling::kRowGroups; ++group) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int quad = 0; quad < 2 * Tiling::kColumnGroups; ++quad) {
          const auto& s = sum[group][quad / 2][i / 2];
          const int j = i % 2 * 2 + quad % 2;
          body(row + 32 * group + 4 * quad_of_group(lane / 4) + i,
               column + quad / 2 * 32 + quad % 2 * 16 + lane % 4 * 4,
               make_float4(s[0][j], s[1][j], s[2][j], s[3][j]));
        }
      }
    }
  }
};

// One step.
template <class Math, class A, class B, class Tiling>
__device__ __forceinline__ void multiply_step(const typename Tiling::Stage& stage,
                                              TensorTile<Tiling>& tile) {
#pragma unroll
  for (int q = 0; q < kTensorDepth / 4; q += Math::kQuads) {
    unsigned a[Tiling::kRowGroups][4][2], b[Tiling::kColumnGroups][4][2];
#pragma unroll
    for (int i = 0; i < Tiling::kRowGroups; ++i) {
      Math::template read<A>(stage.a, tile.row + 32 * i, q, tile.lane, a[i]);
    }
#pragma unroll
    for (int i = 0; i < Tiling::kColumnGroups; ++i) {
      Math::template read<B>(stage.b, tile.column + 32 * i, q, tile.lane, b[i]);
    }
#pragma unroll
    for (int i = 0; i < 2 * Tiling::kRowGroups; ++i) {
      const auto& lines = a[i / 2];
      const unsigned rows[4] = {lines[i % 2 * 2][0], lines[i % 2 * 2 + 1][0], lines[i % 2 * 2][1],
                                lines[i % 2 * 2 + 1][1]};
#pragma unroll
      for (int j = 0; j < 4 * Tiling::kColumnGroups; ++j) {
        Math::multiply(tile.sum[i / 2][j / 4][i % 2][j % 4], rows, b[j / 4][j % 4]);
      }
    }
  }
}

// All steps. fetch(stage) starts the thread's copies for the step that comes next; A and B say how
// they lie.
template <class Math, class A, class B, class Tiling, class Fetch>
__device__ __forceinline__ void multiply_steps(typename Tiling::Shared& shared, int steps,
                                               Fetch fetch, TensorTile<Tiling>& tile) {
#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) fetch(shared.stage[step]);
    commit_copies();
  }
  for (int step = 0; step < steps; ++step) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // the step is there for all, and all have read the stage that is filled next
    if (step + kStages - 1 < steps) fetch(shared.stage[(step + kStages - 1) % kStages]);
    commit_copies();
    multiply_step<Math, A, B>(shared.stage[step % kStages], tile);
  }
  wait_for_copies<0>();  // of empty groups
}

}  // namespace
}  // namespace unet::UNET_GPU
