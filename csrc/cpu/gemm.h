// The two register-tiled matrix kernels under every op that mixes channels.
//
//   panel kernel    acc[m][n] += sum_k a[m*lda + k] * panel[k][n]        (forward, backward_data)
//   outer kernel    acc[m][n] += sum_k a[k*lda + m] * b[k*ldb + n]       (backward_weights)
//
// A tile of the result, kRows x kPanel, stays in registers: per k it takes kVectors loads of the
// right matrix and kRows broadcasts of the left one for kRows * kVectors fused multiply-adds.
//
//                n: kPanel = kVectors registers
//              +------+------+
//          k   | panel[k][:] |       a panel is dense, [K][kPanel], zero-padded in n
//              +------+------+
//      +---+   +------+------+
//    m | a |   |  acc[m][v]  |       kRows x kVectors registers
//      +---+   +------+------+
//
// The order of the sum over k never depends on where a row stands in a tile, so that a result does
// not depend on how the work was cut.
#pragma once

#include <omp.h>

#include <cstddef>

#include "core/activation.h"
#include "cpu/simd.h"
#include "cpu/stream.h"

namespace unet::cpu::UNET_ISA {
namespace {

constexpr int kVectors = 2;
constexpr int kPanel = kVectors * kLanes;
// 16 vector registers hold 6 x 2 accumulators, 32 hold 14 x 2 with AVX-512, which takes the factors
// of the left matrix from memory, and 10 x 2 with NEON, where GCC 12 keeps them in registers.
#if UNET_LANES == 16
constexpr int kRows = 14;
#elif defined(__aarch64__)
constexpr int kRows = 10;
#else
constexpr int kRows = 6;
#endif

template <int M>
struct Accumulators {
  vfloat v[M][kVectors];
};

template <int M>
[[gnu::always_inline]] inline void clear(Accumulators<M>& acc) {
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) acc.v[m][v] = vfloat{};
  }
}

// Where the second vector of a row of `columns` >= kLanes begins: the two overlap rather than that
// one is cut short, and columns that both hold are computed twice, to the same bits.
[[gnu::always_inline]] inline int second(int columns) { return columns - kLanes; }

// M rows of whole vectors at `c`, ldc apart; a second one begins at `second`.
template <int Vectors, int M>
[[gnu::always_inline]] inline void load_vectors(const float* c, std::ptrdiff_t ldc, int second,
                                                Accumulators<M>& acc) {
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
    acc.v[m][0] = load(c + m * ldc);
    acc.v[m][1] = Vectors > 1 ? load(c + m * ldc + second) : vfloat{};
  }
}

template <int Vectors, bool Streamed = false, int M>
[[gnu::always_inline]] inline void store_vectors(const Accumulators<M>& acc, int second, float* c,
                                                 std::ptrdiff_t ldc) {
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
    store_or_stream<Streamed>(c + m * ldc, acc.v[m][0]);
    if constexpr (Vectors > 1) store_or_stream<Streamed>(c + m * ldc + second, acc.v[m][1]);
  }
}

// `c` holds M rows, ldc apart, of which the first `columns` <= kPanel elements count.
template <int M>
[[gnu::always_inline]] inline void load_tile(const float* c, std::ptrdiff_t ldc, int columns,
                                             Accumulators<M>& acc) {
  if (columns >= kLanes) return load_vectors<2>(c, ldc, second(columns), acc);
  for (int m = 0; m < M; ++m) {
    acc.v[m][0] = load_part(c + m * ldc, columns);
    acc.v[m][1] = vfloat{};
  }
}

template <int M>
[[gnu::always_inline]] inline void store_tile(const Accumulators<M>& acc, int columns, float* c,
                                              std::ptrdiff_t ldc) {
  if (columns > kLanes) return store_vectors<2>(acc, second(columns), c, ldc);
  if (columns == kLanes) return store_vectors<1>(acc, 0, c, ldc);
  for (int m = 0; m < M; ++m) store_part(c + m * ldc, acc.v[m][0], columns);
}

template <int M>
[[gnu::always_inline]] inline void apply_relu(FusedRelu relu, Accumulators<M>& acc) {
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const vfloat x = acc.v[m][v];
      acc.v[m][v] = x > 0.0f ? x : x * relu.negative_slope;
    }
  }
}

// One chunk of the input channels times one panel: what does not change from tile to tile.
struct ChunkOfPanel {
  int count;           // input channels
  const float* panel;  // [count][kPanel], for each tap
  const float* start;  // [kPanel] to begin with, or null to go on with what the target holds
  int columns;         // of the panel that the target has
  FusedRelu relu;      // of the last chunk
  bool streamed;       // the result, whose columns are whole vectors
};

// Before and after the products of M rows of the target at `to`, ldc apart.
template <int M>
[[gnu::always_inline]] inline void begin_tile(const ChunkOfPanel& chunk, const float* to,
                                              std::ptrdiff_t ldc, Accumulators<M>& acc) {
  if (chunk.start != nullptr) {
    load_tile(chunk.start, 0, max(chunk.columns, kLanes), acc);
  } else {
    load_tile(to, ldc, chunk.columns, acc);
  }
}

template <int M>
[[gnu::always_inline]] inline void end_tile(const ChunkOfPanel& chunk, Accumulators<M>& acc,
                                            float* to, std::ptrdiff_t ldc) {
  if (chunk.relu.on) apply_relu(chunk.relu, acc);
  if (!chunk.streamed) return store_tile(acc, chunk.columns, to, ldc);
  if (chunk.columns > kLanes) return store_vectors<2, true>(acc, kLanes, to, ldc);
  store_vectors<1, true>(acc, 0, to, ldc);
}

// acc += a [M][K] * panel [K], the vectors at 0 and, of two, at `second` of each row of the panel.
template <int Vectors, int M>
[[gnu::always_inline]] inline void panel_vectors(int K, const float* a, std::ptrdiff_t lda,
                                                 const float* panel, int second,
                                                 Accumulators<M>& acc) {
  for (int k = 0; k < K; ++k, ++a, panel += kPanel) {
    const vfloat b0 = load(panel), b1 = Vectors > 1 ? load(panel + second) : vfloat{};
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const vfloat x = splat(a[m * lda]);
      acc.v[m][0] += x * b0;
      if constexpr (Vectors > 1) acc.v[m][1] += x * b1;
    }
  }
}

// The same, while `meanwhile(a)` is done every kLine channels: what the next product reads is
// brought into the cache, where the processor cannot foresee it.
template <int Vectors, int M, class Meanwhile>
[[gnu::always_inline]] inline void panel_vectors(int K, const float* a, std::ptrdiff_t lda,
                                                 const float* panel, int second,
                                                 const Meanwhile& meanwhile, Accumulators<M>& acc) {
  for (int k = 0; k < K; k += kLine, a += kLine, panel += kLine * kPanel) {
    meanwhile(a);
    panel_vectors<Vectors>(min(kLine, K - k), a, lda, panel, second, acc);
  }
}

// Brings a cache line of each of the M rows, lda apart, that lie `ahead` floats after `a` into the
// cache.
template <int M>
[[gnu::always_inline]] inline void fetch_rows(const float* a, std::ptrdiff_t lda,
                                              std::ptrdiff_t ahead) {
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) fetch(a + m * lda + ahead);
}

// `columns` <= kPanel columns of the panel count; up to kLanes cost half.
template <int M>
[[gnu::always_inline]] inline void panel_kernel(int K, const float* a, std::ptrdiff_t lda,
                                                const float* panel, int columns,
                                                Accumulators<M>& acc) {
  if (columns <= kLanes) return panel_vectors<1>(K, a, lda, panel, 0, acc);
  panel_vectors<2>(K, a, lda, panel, second(columns), acc);
}

// acc += a [K][M]t * b [K], the vectors at 0 and, of two, at `second` of each row of b.
template <int Vectors, int M>
[[gnu::always_inline]] inline void outer_vectors(std::ptrdiff_t K, const float* a,
                                                 std::ptrdiff_t lda, const float* b,
                                                 std::ptrdiff_t ldb, int second,
                                                 Accumulators<M>& acc) {
  for (std::ptrdiff_t k = 0; k < K; ++k, a += lda, b += ldb) {
    const vfloat b0 = load(b), b1 = Vectors > 1 ? load(b + second) : vfloat{};
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const vfloat x = splat(a[m]);
      acc.v[m][0] += x * b0;
      if constexpr (Vectors > 1) acc.v[m][1] += x * b1;
    }
  }
}

// `columns` <= kPanel columns of b count.
template <int M>
[[gnu::always_inline]] inline void outer_kernel(std::ptrdiff_t K, const float* a,
                                                std::ptrdiff_t lda, const float* b,
                                                std::ptrdiff_t ldb, int columns,
                                                Accumulators<M>& acc) {
  if (columns > kLanes) return outer_vectors<2>(K, a, lda, b, ldb, second(columns), acc);
  if (columns == kLanes) return outer_vectors<1>(K, a, lda, b, ldb, 0, acc);
  for (std::ptrdiff_t k = 0; k < K; ++k, a += lda, b += ldb) {
    const vfloat b0 = load_part(b, columns);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) acc.v[m][0] += splat(a[m]) * b0;
  }
}

// Calls f(Rows<M>{}) with the compile-time M that equals `rows`, 1 <= rows <= kRows.
template <int M>
struct Rows {
  static constexpr int value = M;
};

template <int M = kRows, class F>
[[gnu::always_inline]] inline void with_rows(int rows, const F& f) {
  if constexpr (M > 1) {
    if (rows < M) return with_rows<M - 1>(rows, f);
  }
  f(Rows<M>{});
}

// Rows of a tile when `rows` are cut into tiles of nearly equal height: 16 = 8 + 8, not 14 + 2.
[[maybe_unused]] inline int even_rows(int rows) {
  return static_cast<int>(ceil_div(rows, ceil_div(rows, kRows)));
}

// `columns` <= kPanel columns of b [K][..], rows ldb apart -> panel [K][kPanel], zero-padded.
[[maybe_unused]] inline void pack_panel(const float* b, std::ptrdiff_t ldb, int K, int columns,
                                        float* panel) {
  for (int k = 0; k < K; ++k, b += ldb, panel += kPanel) {
    for (int n = 0; n < columns; ++n) panel[n] = b[n];
    for (int n = columns; n < kPanel; ++n) panel[n] = 0.0f;
  }
}

// Index of the calling thread in the current parallel region.
[[maybe_unused]] inline int thread_index() { return omp_get_thread_num(); }

}  // namespace
}  // namespace unet::cpu::UNET_ISA
