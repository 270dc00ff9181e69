// conv3x3 backward_weights on the CPU by Winograd's F(4x4,3x3) (cpu/winograd.h).
//
//   bottom tiles    --transform--> V [36][tiles][IC] --+
//                                                      +--> S [36][IC][OC] = Vt D --> weight_diff
//   top_diff tiles  --transform--> D [36][tiles][OC] --+
//
// The gradient of the bias comes along: At has a row of ones, so that one position of D holds the
// sum of each tile of the top_diff.
//
// The sum over tiles is the long dimension of the product. Two ways to cut it, chosen by size:
//   splits   many tiles, few channels: each thread takes a part of the tiles and a block of input
//            channels through all steps, chunk by chunk in its own cache; the sums of the parts are
//            added in order. No thread waits for another but at the end.
//   slabs    few tiles, many channels: D is made once for all tiles, V for a slab of input channels
//            at a time; a block of S is finished in a thread's own cache and transformed at once,
//            so that S (four times the weights) is never in memory. Taken where S is large and V
//            and D are not, and where V and D stay in the L3 cache
// Both cuts depend on the shape alone, and the order of every sum with them: the result does not
// depend on the number of threads.
//
// Cost      4.5*N*IC*OC*OH*OW flop in the products
#include "cpu/bias.h"
#include "cpu/concat_view.h"
#include "cpu/conv3x3.h"
#include "cpu/gemm.h"
#include "cpu/winograd.h"

namespace unet::cpu::UNET_ISA::winograd {
namespace {

constexpr std::ptrdiff_t kFewSums = 1 << 20;         // S that splits keep near: 4 MB
constexpr std::ptrdiff_t kManySums = 3 << 20;        // S that splits cannot hold at all: 12 MB
constexpr std::ptrdiff_t kNearSlabFloats = 3 << 20;  // V and D that slabs keep near: 12 MB
constexpr std::ptrdiff_t kMaxSlabFloats = 18 << 20;  // V and D that slabs may take at all: 75 MB
constexpr std::ptrdiff_t kSumFloats = 3 << 21;       // S of all splits together: 24 MB
constexpr int kMaxSplits = 16;
constexpr int kSplitChannels = 128;               // input channels that one thread takes
constexpr std::ptrdiff_t kChunkFloats = 5 << 17;  // V and D of a chunk of tiles: 2.6 MB
constexpr std::ptrdiff_t kSlabFloats = 5 << 19;   // V of a slab of channels: 10 MB
constexpr int kBlockRows = 8 * kRows;             // most input channels of a block of S
constexpr int kBlocks = 8;                        // blocks of S that a slab is at least cut into
constexpr int kBlockPanels = 2;                   // panels of output channels of a block of S

struct Plan {
  int IC, OC;
  TileGrid grid;
  int splits;                             // 0: cut by slabs
  int chunk;                              // tiles in V and D
  int slab;                               // input channels in V
  int block_rows;                         // input channels of a block of S
  int s_row;                              // floats of a row of S
  std::ptrdiff_t v_row, d_row;            // floats of a row of V, D
  std::ptrdiff_t v_size, d_size, s_size;  // floats of V, D, S (slabs: of one thread's block of S)

  explicit Plan(const Conv3x3Shape& shape)
      : IC(shape.ic), OC(shape.oc), grid(shape.n, shape.ih - 2, shape.iw - 2), splits(0) {
    s_row = static_cast<int>(round_up(OC, kLanes));
    s_size = static_cast<std::ptrdiff_t>(kPositions) * IC * s_row;
    d_row = row_length(OC);
    const auto column_blocks = ceil_div(OC, kBlockPanels * kPanel);
    const auto floats_with = [&](int channels) {  // V and D of all tiles
      return kPositions * grid.count() * (row_length(channels) + d_row);
    };
    const bool cuts_well = 2 * ceil_div(IC, kRows) * column_blocks >= kBlocks;
    const bool by_slabs = s_size > kManySums ||
                          (s_size > kFewSums && floats_with(kBlockRows) <= kMaxSlabFloats) ||
                          (cuts_well && floats_with(IC) <= kNearSlabFloats);
    if (!by_slabs) {
      slab = min(IC, kSplitChannels);
      v_row = row_length(slab);
      chunk = static_cast<int>(kChunkFloats / (kPositions * (v_row + d_row)));
      chunk = min(max(chunk, 32), grid.count());
      splits = static_cast<int>(min<std::ptrdiff_t>(kSumFloats / s_size, kMaxSplits));
      splits = static_cast<int>(min<std::ptrdiff_t>(splits, ceil_div(grid.count(), chunk)));
      s_size += s_row;  // a last row: the sums of the top_diff
    } else {
      chunk = grid.count();
      const auto fit = kSlabFloats / (static_cast<std::ptrdiff_t>(kPositions) * chunk);
      slab = static_cast<int>(max<std::ptrdiff_t>(1, (fit - 16) / kBlockRows)) * kBlockRows;
      slab = min(slab, IC);
      v_row = row_length(slab);
      const auto blocks = max(ceil_div(slab, kBlockRows), ceil_div(kBlocks, column_blocks));
      block_rows = static_cast<int>(max<std::ptrdiff_t>(ceil_div(slab, blocks), kRows));
      s_row = kBlockPanels * kPanel;
      s_size = static_cast<std::ptrdiff_t>(kPositions) * block_rows * s_row;
    }
    v_size = static_cast<std::ptrdiff_t>(kPositions) * chunk * v_row;
    d_size = static_cast<std::ptrdiff_t>(kPositions) * chunk * d_row;
  }

  std::ptrdiff_t workspace(int threads) const {
    return splits > 0 ? splits * s_size + threads * (v_size + d_size)
                      : v_size + d_size + threads * s_size;
  }
};

void transform_bottom(const ConcatView& bottom, const Plan& plan, int tile, int t, int ic,
                      int channels, float* V) {
  transform_window<kWindow>(channels_of(bottom, ic, channels), plan.grid.image(tile),
                            plan.grid.y(tile), plan.grid.x(tile), V + t * plan.v_row,
                            plan.chunk * plan.v_row,
                            [](const vfloat* d, vfloat* out) { bottom_transform(d, out); });
}

void transform_top_diff(ConstView top_diff, const Plan& plan, int tile, int t, float* D) {
  transform_window<kTile>(top_diff, plan.grid.image(tile), plan.grid.y(tile), plan.grid.x(tile),
                          D + t * plan.d_row, plan.chunk * plan.d_row,
                          [](const vfloat* y, vfloat* out) { top_diff_transform(y, out); });
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
template <int Vectors, bool Add>
void sum_columns(const Plan& plan, const float* v, const float* d, int tiles, int rows,
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
void sum_products(const Plan& plan, const float* v, const float* d, int tiles, int ic, int rows,
                  int oc, int columns, bool add, float* S, std::ptrdiff_t lds) {
  const int v_lines = static_cast<int>(ceil_div(rows, kLine));
  const int d_lines = static_cast<int>(ceil_div(columns, kLine));
  const Ahead ahead{v + ic + plan.chunk * plan.v_row,
                    d + oc + plan.chunk * plan.d_row,
                    plan.v_row,
                    plan.d_row,
                    v_lines,
                    v_lines + d_lines};
  const int passes = static_cast<int>(ceil_div(rows, even_rows(rows)));
  for (int c = 0, pass = 0; c < columns; c += kPanel, pass += passes) {
    const auto sum = columns - c <= kLanes ? (add ? sum_columns<1, true> : sum_columns<1, false>)
                                           : (add ? sum_columns<2, true> : sum_columns<2, false>);
    sum(plan, v + ic, d + oc + c, tiles, rows, ahead, pass, S + c, lds);
  }
}

// sum[columns] (+)= the top_diff's channels from `oc` on, over all pixels of the tiles.
void sum_top_diff(const Plan& plan, const float* D, int tiles, int oc, int columns, bool add,
                  float* sum) {
  constexpr int kOnes = kWindow + 1;  // the position (1, 1)
  for (int c = 0; c < columns && !add; ++c) sum[c] = 0.0f;
  add_rows(D + kOnes * plan.chunk * plan.d_row + oc, tiles, plan.d_row, columns, sum);
}

// Row `r` (one input channel) of S, positions s_stride apart, to weight_diff[:, ic, oc ..
// +columns).
void transform_sums(const float* S, std::ptrdiff_t s_stride, int ic, int oc, int columns,
                    bool accumulate, Filter weight_diff) {
  const std::ptrdiff_t offset = static_cast<std::ptrdiff_t>(ic) * weight_diff.oc + oc;
  for (int c = 0; c < columns; c += kLanes) {
    const int count = min(kLanes, columns - c);
    transform_2d<kWindow, 3>(
        [&](int i, int j) {
          const float* from = S + (i * kWindow + j) * s_stride + c;
          return count == kLanes ? load(from) : load_part(from, count);
        },
        [&](int i, int j, vfloat value) {
          float* to = weight_diff.tap(i, j) + offset + c;
          if (count == kLanes) {
            store(to, accumulate ? load(to) + value : value);
          } else {
            store_part(to, accumulate ? load_part(to, count) + value : value, count);
          }
        },
        [](const vfloat* s, vfloat* out) { filter_diff_transform(s, out); });
  }
}

void backward_splits(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                     bool accumulate, const Plan& plan, float* workspace, Filter weight_diff,
                     Span bias_diff) {
  const int IC = plan.IC, OC = plan.OC, count = plan.grid.count();
  const int blocks = static_cast<int>(ceil_div(IC, plan.slab));
  const std::ptrdiff_t position_size = static_cast<std::ptrdiff_t>(IC) * plan.s_row;
  const auto bias_sum = [&](int split) {
    return workspace + split * plan.s_size + kPositions * position_size;
  };
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
          touch_windows<kWindow>(channels_of(bottom, ic, channels), plan.grid, 0, first, tiles);
          touch_windows<kTile>(top_diff, plan.grid, 0, first, tiles);
          for (int t = 0; t < tiles; ++t) {
            transform_bottom(bottom, plan, first + t, t, ic, channels, V);
            transform_top_diff(top_diff, plan, first + t, t, D);
          }
          if (b == 0) sum_top_diff(plan, D, tiles, 0, OC, first > begin, bias_sum(split));
          for (int position = 0; position < kPositions; ++position) {
            sum_products(plan, V + position * plan.chunk * plan.v_row,
                         D + position * plan.chunk * plan.d_row, tiles, 0, channels, 0, OC,
                         first > begin, S + position * position_size, plan.s_row);
          }
        }
      }
    }
    // Row ic of every position: the sums of the splits, added in order, then transformed.
#pragma omp for schedule(static)
    for (int ic = 0; ic < IC; ++ic) {
      float* sum = workspace + static_cast<std::ptrdiff_t>(ic) * plan.s_row;
      for (int position = 0; position < kPositions; ++position) {
        float* to = sum + position * position_size;
        for (int split = 1; split < plan.splits; ++split) {
          const float* part = to + split * plan.s_size;
          for (int oc = 0; oc < OC; ++oc) to[oc] += part[oc];
        }
      }
      transform_sums(sum, position_size, ic, 0, OC, accumulate, weight_diff);
    }
  }
  for (int oc = 0; oc < bias_diff.size; ++oc) {
    float sum = accumulate ? bias_diff.data[oc] : 0.0f;
    for (int split = 0; split < plan.splits; ++split) sum += bias_sum(split)[oc];
    bias_diff.data[oc] = sum;
  }
}

void backward_slabs(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                    bool accumulate, const Plan& plan, float* workspace, Filter weight_diff,
                    Span bias_diff) {
  float* V = workspace;
  float* D = V + plan.v_size;
  const int IC = plan.IC, OC = plan.OC, tiles = plan.grid.count();
  constexpr int kColumns = kBlockPanels * kPanel;
  const int column_blocks = static_cast<int>(ceil_div(OC, kColumns));
#pragma omp parallel num_threads(ctx.threads)
  {
    float* S = D + plan.d_size + thread_index() * plan.s_size;  // [36][block_rows][kColumns]
    const std::ptrdiff_t position_size = plan.block_rows * kColumns;
    for (int slab = 0; slab < IC; slab += plan.slab) {
      const int channels = min(plan.slab, IC - slab);
      const int row_blocks = static_cast<int>(ceil_div(channels, plan.block_rows));
#pragma omp for schedule(dynamic, 8)
      for (int t = 0; t < tiles; ++t) {
        touch_windows<kWindow>(channels_of(bottom, slab, channels), plan.grid, 0, t, 1);
        transform_bottom(bottom, plan, t, t, slab, channels, V);
        if (slab > 0) continue;
        touch_windows<kTile>(top_diff, plan.grid, 0, t, 1);
        transform_top_diff(top_diff, plan, t, t, D);
      }
#pragma omp for collapse(2) schedule(dynamic, 1)
      for (int rb = 0; rb < row_blocks; ++rb) {
        for (int cb = 0; cb < column_blocks; ++cb) {
          const int ic = rb * plan.block_rows, rows = min(plan.block_rows, channels - ic);
          const int oc = cb * kColumns, columns = min(kColumns, OC - oc);
          if (slab == 0 && rb == 0 && bias_diff.size > 0) {
            sum_top_diff(plan, D, tiles, oc, columns, accumulate, bias_diff.data + oc);
          }
          for (int position = 0; position < kPositions; ++position) {
            sum_products(plan, V + position * plan.chunk * plan.v_row,
                         D + position * plan.chunk * plan.d_row, tiles, ic, rows, oc, columns,
                         false, S + position * position_size, kColumns);
          }
          for (int r = 0; r < rows; ++r) {
            transform_sums(S + r * kColumns, position_size, slab + ic + r, oc, columns, accumulate,
                           weight_diff);
          }
        }
      }
    }
  }
}

}  // namespace

void backward_weights(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                      bool accumulate, float* workspace, Filter weight_diff, Span bias_diff) {
  const ConstView all = bottom.shape();
  const Plan plan({all.n, all.c, all.h, all.w, top_diff.c});
  const auto cut = plan.splits > 0 ? backward_splits : backward_slabs;
  cut(ctx, bottom, top_diff, accumulate, plan, workspace, weight_diff, bias_diff);
}

std::ptrdiff_t backward_weights_workspace(const Context& ctx, const Conv3x3Shape& shape) {
  return Plan(shape).workspace(ctx.threads);
}

}  // namespace unet::cpu::UNET_ISA::winograd
