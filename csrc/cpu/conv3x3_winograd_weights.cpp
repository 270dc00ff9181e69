// conv3x3 backward_weights on the CPU by Winograd's minimal filtering (cpu/winograd.h).
//
//   bottom tiles    --transform--> V [P][tiles][IC] --+
//                                                     +--> S [P][IC][OC] = Vt D --> weight_diff
//   top_diff tiles  --transform--> D [P][tiles][OC] --+           P = 36 or 64 positions
//
// The gradient of the bias comes along: At has a row of ones, so that one position of D holds the
// sum of each tile of the top_diff.
//
// The sum over tiles is the long dimension of the product. Three ways to cut it, chosen by size:
//   splits     many tiles, few channels: each thread takes a part of the tiles and a block of input
//              channels through all steps, chunk by chunk in its own cache; the sums of the parts
//              are added in order. No thread waits for another but at the end.
//   positions  many tiles, many channels: V and D of a large chunk of tiles are made, which go to
//              memory, and each thread takes whole positions: a part of V and D, which fit the
//              caches and come from memory once. S, smaller by far, waits in memory too
//   slabs      few tiles, many channels: D is made once for all tiles, V for a slab of input
//              channels at a time; a block of S is finished in a thread's own cache and transformed
//              at once, so that S (four or seven times the weights) is never in memory
// The order of every sum depends on the shape alone: the result does not depend on the number of
// threads.
//
// Cost      4.5*N*IC*OC*OH*OW flop in the products with tiles of 4x4 pixels, 3.6 with 6x6
#include "cpu/bias.h"
#include "cpu/concat_view.h"
#include "cpu/conv3x3.h"
#include "cpu/gemm.h"
#include "cpu/stream.h"
#include "cpu/winograd.h"
#include "cpu/winograd_weights_plan.h"

namespace unet::cpu::UNET_ISA::winograd {
namespace {

template <class F>
void transform_bottom(const ConcatView& bottom, const WeightsPlan<F>& plan, int tile, int t, int ic,
                      int channels, float* V) {
  transform_window<F::kWindow, F::kWindow>(channels_of(bottom, ic, channels), plan.grid.image(tile),
                                           plan.grid.y(tile), plan.grid.x(tile), V + t * plan.v_row,
                                           plan.v_position,
                                           [](const vfloat* d, vfloat* out) { F::bottom(d, out); });
}

template <class F>
void transform_top_diff(ConstView top_diff, const WeightsPlan<F>& plan, int tile, int t, float* D) {
  transform_window<F::kTile, F::kWindow>(top_diff, plan.grid.image(tile), plan.grid.y(tile),
                                         plan.grid.x(tile), D + t * plan.d_row, plan.d_position,
                                         [](const vfloat* y, vfloat* out) { F::top_diff(y, out); });
}

// What the products of one position have fetched for those of the next one: V and D lie in the L3
// cache. Each pass over the tiles takes one cache line of every tile.
struct Ahead {
  const float *v, *d;
  std::ptrdiff_t v_row, d_row;
  int v_lines, lines;

  bool of_v(int pass) const { return pass % lines < v_lines; }
  const float* line(int pass) const {
    const int i = pass % lines;
    return of_v(pass) ? v + i * kLine : d + (i - v_lines) * kLine;
  }
  std::ptrdiff_t row(int pass) const { return of_v(pass) ? v_row : d_row; }
};

// S [rows][Vectors * kLanes], lds apart, (+)= V[tiles][rows]t * D[tiles][Vectors * kLanes].
template <int Vectors, bool Add, class F>
void sum_columns(const WeightsPlan<F>& plan, const float* v, const float* d, int tiles, int rows,
                 const Ahead& ahead, int pass, float* S, std::ptrdiff_t lds) {
  const int step = even_rows(rows);
  for (int r = 0; r < rows; r += step, ++pass) {
    with_rows(min(step, rows - r), [&](auto m) {
      Accumulators<decltype(m)::value> acc;
      if constexpr (Add) {
        load_vectors<Vectors>(S + r * lds, lds, kLanes, acc);
      } else {
        clear(acc);
      }
      outer_vectors<Vectors>(tiles, v + r, plan.v_row, d, plan.d_row, kLanes, ahead.line(pass),
                             ahead.row(pass), acc);
      store_vectors<Vectors>(acc, kLanes, S + r * lds, lds);
    });
  }
}

// S [.., lds apart] (+)= V[tiles][ic .. ic + rows)t * D[tiles][oc .. oc + columns), one position.
// Rows of D and S are filled up to whole vectors.
template <class F>
void sum_products(const WeightsPlan<F>& plan, const float* v, const float* d, int tiles, int ic,
                  int rows, int oc, int columns, bool add, float* S, std::ptrdiff_t lds) {
  const int v_lines = static_cast<int>(ceil_div(rows, kLine));
  const int d_lines = static_cast<int>(ceil_div(columns, kLine));
  const Ahead ahead{
      v + ic + plan.v_position, d + oc + plan.d_position, plan.v_row, plan.d_row, v_lines,
      v_lines + d_lines};
  const int passes = static_cast<int>(ceil_div(rows, even_rows(rows)));
  for (int c = 0, pass = 0; c < columns; c += kPanel, pass += passes) {
    const auto sum = columns - c <= kLanes
                         ? (add ? sum_columns<1, true, F> : sum_columns<1, false, F>)
                         : (add ? sum_columns<2, true, F> : sum_columns<2, false, F>);
    sum(plan, v + ic, d + oc + c, tiles, rows, ahead, pass, S + c, lds);
  }
}

// sum[columns] (+)= the top_diff's channels from `oc` on, over all pixels of the tiles.
template <class F>
void sum_top_diff(const WeightsPlan<F>& plan, const float* D, int tiles, int oc, int columns,
                  bool add, float* sum) {
  constexpr int kOnes = F::kWindow + 1;  // the position (1, 1)
  for (int c = 0; c < columns && !add; ++c) sum[c] = 0.0f;
  add_rows(D + kOnes * plan.d_position + oc, tiles, plan.d_row, columns, sum);
}

// Row `r` (one input channel) of S, positions s_stride apart, to weight_diff[:, ic, oc ..
// +columns).
template <bool kStreamed, class F>
void transform_sums(const float* S, std::ptrdiff_t s_stride, int ic, int oc, int columns,
                    bool accumulate, Filter weight_diff) {
  const std::ptrdiff_t offset = static_cast<std::ptrdiff_t>(ic) * weight_diff.oc + oc;
  for (int c = 0; c < columns; c += kLanes) {
    const int count = min(kLanes, columns - c);
    transform_2d<F::kWindow, 3>(
        [&](int i, int j) {
          const float* from = S + (i * F::kWindow + j) * s_stride + c;
          return count == kLanes ? load(from) : load_part(from, count);
        },
        [&](int i, int j, vfloat value) {
          float* to = weight_diff.tap(i, j) + offset + c;
          if (kStreamed) {
            stream(to, value);
          } else if (count == kLanes) {
            store(to, accumulate ? load(to) + value : value);
          } else {
            store_part(to, accumulate ? load_part(to, count) + value : value, count);
          }
        },
        [](const vfloat* s, vfloat* out) { F::filter_diff(s, out); });
  }
}

// The solver reads large diffs when they have left the caches anyhow.
bool streams(Filter weight_diff, bool accumulate) {
  const std::ptrdiff_t OC = weight_diff.oc;
  return !accumulate &&
         worth_streaming({weight_diff.data, 1, weight_diff.oc, 9 * weight_diff.ic, 1, 0, OC, OC});
}

template <class F>
void backward_splits(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                     bool accumulate, const WeightsPlan<F>& plan, float* workspace,
                     Filter weight_diff, Span bias_diff) {
  const int IC = plan.IC, OC = plan.OC, count = plan.grid.count();
  const int blocks = static_cast<int>(ceil_div(IC, plan.slab));
  const std::ptrdiff_t position_size = static_cast<std::ptrdiff_t>(IC) * plan.s_row;
  const auto bias_sum = [&](int split) {
    return workspace + split * plan.s_size + F::kPositions * position_size;
  };
  const auto transform =
      streams(weight_diff, accumulate) ? transform_sums<true, F> : transform_sums<false, F>;
#pragma omp parallel num_threads(ctx.threads)
  {
    float* V = workspace + plan.splits * plan.s_size + thread_index() * (plan.v_size + plan.d_size);
    float* D = V + plan.v_size;
#pragma omp for collapse(2) schedule(dynamic, 1)
    for (int split = 0; split < plan.splits; ++split) {
      for (int b = 0; b < blocks; ++b) {
        const int ic = b * plan.slab, channels = min(plan.slab, IC - ic);
        float* S = workspace + split * plan.s_size + static_cast<std::ptrdiff_t>(ic) * plan.s_row;
        const auto bound = [&](int i) {
          return static_cast<int>(static_cast<std::ptrdiff_t>(count) * i / plan.splits);
        };
        const int begin = bound(split), end = bound(split + 1);
        for (int first = begin; first < end; first += plan.chunk) {
          const int tiles = min(plan.chunk, end - first);
          touch_windows<F::kWindow>(channels_of(bottom, ic, channels), plan.grid, 0, first, tiles);
          touch_windows<F::kTile>(top_diff, plan.grid, 0, first, tiles);
          for (int t = 0; t < tiles; ++t) {
            transform_bottom(bottom, plan, first + t, t, ic, channels, V);
            transform_top_diff(top_diff, plan, first + t, t, D);
          }
          if (b == 0) sum_top_diff(plan, D, tiles, 0, OC, first > begin, bias_sum(split));
          for (int position = 0; position < F::kPositions; ++position) {
            sum_products(plan, V + position * plan.v_position, D + position * plan.d_position,
                         tiles, 0, channels, 0, OC, first > begin, S + position * position_size,
                         plan.s_row);
          }
        }
      }
    }
    // Row ic of every position: the sums of the splits, added in order, then transformed.
#pragma omp for schedule(static)
    for (int ic = 0; ic < IC; ++ic) {
      float* sum = workspace + static_cast<std::ptrdiff_t>(ic) * plan.s_row;
      for (int position = 0; position < F::kPositions; ++position) {
        float* to = sum + position * position_size;
        for (int split = 1; split < plan.splits; ++split) {
          const float* part = to + split * plan.s_size;
          for (int oc = 0; oc < OC; ++oc) to[oc] += part[oc];
        }
      }
      transform(sum, position_size, ic, 0, OC, accumulate, weight_diff);
    }
    finish_streaming();
  }
  for (int oc = 0; oc < bias_diff.size; ++oc) {
    float sum = accumulate ? bias_diff.data[oc] : 0.0f;
    for (int split = 0; split < plan.splits; ++split) sum += bias_sum(split)[oc];
    bias_diff.data[oc] = sum;
  }
}

// V and D of `tiles` tiles from `first` on, V of the input channels [slab, slab + channels), D if
// `also_d`: work for all threads.
template <class F>
void transform_tiles(const ConcatView& bottom, ConstView top_diff, const WeightsPlan<F>& plan,
                     int first, int tiles, int slab, int channels, bool also_d, float* V,
                     float* D) {
#pragma omp for schedule(dynamic, 8)
  for (int t = 0; t < tiles; ++t) {
    touch_windows<F::kWindow>(channels_of(bottom, slab, channels), plan.grid, 0, first + t, 1);
    transform_bottom(bottom, plan, first + t, t, slab, channels, V);
    if (!also_d) continue;
    touch_windows<F::kTile>(top_diff, plan.grid, 0, first + t, 1);
    transform_top_diff(top_diff, plan, first + t, t, D);
  }
}

template <class F>
void backward_positions(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                        bool accumulate, const WeightsPlan<F>& plan, float* workspace,
                        Filter weight_diff, Span bias_diff) {
  float* V = workspace;
  float* D = V + plan.v_size;
  float* S = D + plan.d_size;  // [P][slab][s_row]
  const int IC = plan.IC, OC = plan.OC, count = plan.grid.count();
  const std::ptrdiff_t position_size = static_cast<std::ptrdiff_t>(plan.slab) * plan.s_row;
  float* bias_sum = S + F::kPositions * position_size;
  // Threads take whole positions, if there are enough of them.
  const int groups = static_cast<int>(ceil_div(8 * ctx.threads, F::kPositions));
  const int group = static_cast<int>(round_up(ceil_div(OC, groups), kPanel));
  const auto transform =
      streams(weight_diff, accumulate) ? transform_sums<true, F> : transform_sums<false, F>;
#pragma omp parallel num_threads(ctx.threads)
  for (int slab = 0; slab < IC; slab += plan.slab) {
    const int channels = min(plan.slab, IC - slab);
    for (int first = 0; first < count; first += plan.chunk) {
      const int tiles = min(plan.chunk, count - first);
      const bool also_d = slab == 0 || plan.chunk < count;
      transform_tiles(bottom, top_diff, plan, first, tiles, slab, channels, also_d, V, D);
#pragma omp for collapse(2) schedule(static)
      for (int position = 0; position < F::kPositions; ++position) {
        for (int oc = 0; oc < OC; oc += group) {
          const int columns = min(group, OC - oc);
          if (slab == 0 && position == 0) {
            sum_top_diff(plan, D, tiles, oc, columns, first > 0, bias_sum + oc);
          }
          sum_products(plan, V + position * plan.v_position, D + position * plan.d_position, tiles,
                       0, channels, oc, columns, first > 0, S + position * position_size + oc,
                       plan.s_row);
        }
      }
    }
#pragma omp for schedule(static)
    for (int ic = 0; ic < channels; ++ic) {
      transform(S + static_cast<std::ptrdiff_t>(ic) * plan.s_row, position_size, slab + ic, 0, OC,
                accumulate, weight_diff);
    }
    finish_streaming();
  }
  for (int oc = 0; oc < bias_diff.size; ++oc) {
    bias_diff.data[oc] = (accumulate ? bias_diff.data[oc] : 0.0f) + bias_sum[oc];
  }
}

template <class F>
void backward_slabs(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                    bool accumulate, const WeightsPlan<F>& plan, float* workspace,
                    Filter weight_diff, Span bias_diff) {
  float* V = workspace;
  float* D = V + plan.v_size;
  const int IC = plan.IC, OC = plan.OC, tiles = plan.grid.count();
  constexpr int kColumns = kBlockPanels * kPanel;
  const int column_blocks = static_cast<int>(ceil_div(OC, kColumns));
  const auto transform =
      streams(weight_diff, accumulate) ? transform_sums<true, F> : transform_sums<false, F>;
#pragma omp parallel num_threads(ctx.threads)
  {
    float* S = D + plan.d_size + thread_index() * plan.s_size;  // [P][block_rows][kColumns]
    const std::ptrdiff_t position_size = plan.block_rows * kColumns;
    for (int slab = 0; slab < IC; slab += plan.slab) {
      const int channels = min(plan.slab, IC - slab);
      const int row_blocks = static_cast<int>(ceil_div(channels, plan.block_rows));
      transform_tiles(bottom, top_diff, plan, 0, tiles, slab, channels, slab == 0, V, D);
#pragma omp for collapse(2) schedule(dynamic, 1)
      for (int rb = 0; rb < row_blocks; ++rb) {
        for (int cb = 0; cb < column_blocks; ++cb) {
          const int ic = rb * plan.block_rows, rows = min(plan.block_rows, channels - ic);
          const int oc = cb * kColumns, columns = min(kColumns, OC - oc);
          if (slab == 0 && rb == 0 && bias_diff.size > 0) {
            sum_top_diff(plan, D, tiles, oc, columns, accumulate, bias_diff.data + oc);
          }
          for (int position = 0; position < F::kPositions; ++position) {
            sum_products(plan, V + position * plan.v_position, D + position * plan.d_position,
                         tiles, ic, rows, oc, columns, false, S + position * position_size,
                         kColumns);
          }
          for (int r = 0; r < rows; ++r) {
            transform(S + r * kColumns, position_size, slab + ic + r, oc, columns, accumulate,
                      weight_diff);
          }
        }
      }
      finish_streaming();
    }
  }
}

template <class F>
void backward_with(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                   bool accumulate, float* workspace, Filter weight_diff, Span bias_diff) {
  const ConstView all = bottom.shape();
  const WeightsPlan<F> plan({all.n, all.c, all.h, all.w, top_diff.c}, ctx.threads);
  const auto cut = plan.cut == Cut::kSplits      ? backward_splits<F>
                   : plan.cut == Cut::kPositions ? backward_positions<F>
                                                 : backward_slabs<F>;
  cut(ctx, bottom, top_diff, accumulate, plan, workspace, weight_diff, bias_diff);
}

// The work on the sums, as much as on so many tiles.
constexpr int kSumTiles = 30;

}  // namespace

void backward_weights(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                      Algorithm algorithm, bool accumulate, float* workspace, Filter weight_diff,
                      Span bias_diff) {
  const auto with = takes_large_tiles(algorithm, top_diff.n, top_diff.h, top_diff.w, kSumTiles)
                        ? backward_with<F6>
                        : backward_with<F4>;
  with(ctx, bottom, top_diff, accumulate, workspace, weight_diff, bias_diff);
}

std::ptrdiff_t backward_weights_workspace(const Context& ctx, const Conv3x3Shape& shape,
                                          Algorithm algorithm) {
  return takes_large_tiles(algorithm, shape.n, shape.ih - 2, shape.iw - 2, kSumTiles)
             ? WeightsPlan<F6>(shape, ctx.threads).workspace(ctx.threads)
             : WeightsPlan<F4>(shape, ctx.threads).workspace(ctx.threads);
}

}  // namespace unet::cpu::UNET_ISA::winograd
