// The products of forward and backward_data where tiles are few, with filters whose transform is
// finished in registers.
//
// Each element of the transformed filters U takes part in one product per tile. Where these are
// few, to write U and to read it again costs as much as the products. So U is never written: the
// columns of the filters are transformed beforehand, and the rows while they are multiplied.
//
//   taps [9][K][kPanel] --columns--> H [rows of positions][vectors][3][K][kLanes]
//
//                  row r of H                  two positions, x and -x or 0 and infinity
//              k   | h0 | h1 | h2 |  --rows-->   | u |   | u' |        one vector each
//        +---+
//   tile | v |  v'                               acc[0][tile] += v[tile][k] * u
//        +---+                                   acc[1][tile] += v'[tile][k] * u'
//
// Cost     3 loads and up to 6 additions for 2 * tiles multiply-adds. On Zen 4, one core of 118
//          GFLOP/s: 99 to 114, where U would cost two cycles a vector to write. Whole
//          layers of 1024 channels, filters from memory: 0.74 to 0.80 of the time at 6 to 12
//          pixels, 0.83 to 0.92 at 14 and 16; with 16 tiles, eight at a time, 1.0 to 1.1
// Only with AVX-512: SSE and AVX2 have 16 registers, for the products of 5 tiles, and take 1.0 to
// 1.3 of the time (AVX2); NEON, which has 32, was not measured.
#pragma once

#include "cpu/gemm.h"
#include "cpu/winograd_filters.h"
#include "cpu/winograd_plan.h"

namespace unet::cpu::UNET_ISA::winograd {
namespace {

// The vectors of columns that a part has.
template <class F>
int vectors_of(const Plan<F>& plan, const FilterPart& part) {
  return static_cast<int>(
      min<std::ptrdiff_t>(part.panels * kVectors, ceil_div(plan.columns - part.n, kLanes)));
}

// taps, of `vectors` vectors of columns, to H.
template <class F>
void transform_columns(const float* taps, int channels, int vectors, float* H) {
  const std::ptrdiff_t tap = tap_length(channels), column = half_length(channels);
  for (int w = 0; w < vectors; ++w) {
    const float* from = taps + w / kVectors * panel_taps(channels) + w % kVectors * kLanes;
    float* to = H + 3 * w * column;
    for (int k = 0; k < channels; ++k, from += kPanel, to += kLanes) {
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) {
        vfloat g[3], out[F::kWindow];
#pragma GCC unroll 3
        for (int i = 0; i < 3; ++i) g[i] = load(from + (i * 3 + j) * tap);
        F::filter(g, out);
#pragma GCC unroll 8
        for (int i = 0; i < F::kWindow; ++i) store(to + (3 * i * vectors + j) * column, out[i]);
      }
    }
  }
}

// m[which] [T], rows kPanel apart, (+)= v[which] [T][channels], rows `row` apart, * the positions
// of a pair, of which `half` [3][channels][kLanes] is the row of H.
template <class F, int Pair, int T>
void multiply_pair(const float* const v[2], std::ptrdiff_t row, const float* half, int channels,
                   bool add, FilterStream& next, float* const m[2]) {
  vfloat acc[2][T];
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) {
    acc[0][t] = add ? load(m[0] + t * kPanel) : vfloat{};
    acc[1][t] = add ? load(m[1] + t * kPanel) : vfloat{};
  }
  const std::ptrdiff_t column = half_length(channels);
  const float *v0 = v[0], *v1 = v[1];
  for (int b = 0; b < channels; b += kLine) {
    next.step();
    const int end = min(b + kLine, channels);
    for (int k = b; k < end; ++k, half += kLanes, ++v0, ++v1) {
      const vfloat h[3] = {load(half), load(half + column), load(half + 2 * column)};
      vfloat u[F::kWindow];
      F::filter(h, u);  // of which the compiler keeps what the pair needs
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t) {
        acc[0][t] += splat(v0[t * row]) * u[row_of_pair<F>(Pair, 0)];
        acc[1][t] += splat(v1[t * row]) * u[row_of_pair<F>(Pair, 1)];
      }
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) {
    store(m[0] + t * kPanel, acc[0][t]);
    store(m[1] + t * kPanel, acc[1][t]);
  }
}

// The positions of a pair in row r. The tiles that have one of them have the other.
template <class F, int Pair>
void multiply_pair(const Plan<F>& plan, int r, const float* V, const TileRows& tiles,
                   const FilterPart& part, const float* half, FilterStream& next, float* M) {
  const int first = r * F::kWindow + row_of_pair<F>(Pair, 0);
  const Tiles present = plan.of_position(first, tiles);
  if (present.begin == present.end) return;
  const float* v[2];
  float* m[2];
  for (int which = 0; which < 2; ++which) {
    const int position = r * F::kWindow + row_of_pair<F>(Pair, which);
    v[which] = V + position * plan.position + (tiles.t + present.begin) * plan.row + part.k;
    m[which] = M + position * plan.product_stride(tiles.count) + present.begin * kPanel;
  }
  with_rows<kFewTiles>(present.end - present.begin, [&](auto rows) {
    multiply_pair<F, Pair, decltype(rows)::value>(v, plan.row, half, part.channels, part.k > 0,
                                                  next, m);
  });
}

template <class F>
std::ptrdiff_t steps_of_few_tiles(const Plan<F>& plan, const FilterPart& part, const TileRows&) {
  return F::kPositions / 2 * vectors_of(plan, part) * ceil_div(part.channels, kLine);
}

// The same way as multiply_part of conv3x3_winograd.cpp, with H as workspace.
template <class F>
void multiply_few_tiles(const Plan<F>& plan, const float* V, const TileRows& tiles,
                        const FilterPart& part, const float* taps, float* H, FilterStream& next,
                        float* M) {
  const int vectors = vectors_of(plan, part);
  transform_columns<F>(taps, part.channels, vectors, H);
  for (int r = 0; r < F::kWindow; ++r) {
    for (int w = 0; w < vectors; ++w, H += 3 * half_length(part.channels)) {
      float* m = M + w / kVectors * plan.panel_products() + w % kVectors * kLanes;
      multiply_pair<F, 0>(plan, r, V, tiles, part, H, next, m);
      multiply_pair<F, 1>(plan, r, V, tiles, part, H, next, m);
      multiply_pair<F, 2>(plan, r, V, tiles, part, H, next, m);
      if constexpr (F::kWindow == 8) multiply_pair<F, 3>(plan, r, V, tiles, part, H, next, m);
    }
  }
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA::winograd
