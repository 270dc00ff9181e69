// conv3x3 backward_weights on the CPU by Winograd's minimal filtering (cpu/winograd.h).
//
//   weight_diff = Gt [ sum over tiles (Bt d B) . (A y At) ] G
//
// of which each thread computes one row of positions after the other, so that the sums of a block
// of channels stay in its L2 cache while they grow:
//
//   bottom    --columns--> H [W][pixels][IC] --row i--> V [W][tiles][IC] --+
//                                                                          +--> S [W][IC][OC]
//   top_diff  --columns--> H [W][pixels][OC] --row i--> D [W][tiles][OC] --+       = Vt D
//
//   S --row i--> T [W][3][IC][OC], added up over chunks of tiles --columns--> weight_diff
//
// with W = 6 or 8 positions in a row. H, whose columns neighbouring tiles share, is made once for a
// chunk of tiles and read once, row by row, in the order of the memory.
//
// The gradient of the bias comes along: At has a row of ones, so that one position of D holds the
// sum of each tile of the top_diff.
//
// A piece of work is a block of channels and, where there are few blocks, a part of the tiles; then
// the parts of T are added in order. The order of every sum depends on the shape alone: the result
// does not depend on the number of threads, none of which waits for another but at the end.
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

// The work on the sums of a position, in the products of so many tiles: measured at 18 to 64
// pixels, where the two sizes of tiles meet.
constexpr int kSumTiles = 8;

// H [Out rows][width][pixel_stride]: the columns of `width` pixels of `view` from (y, x) on, zero
// outside of it, transformed.
template <int In, int Out, class Transform>
void transform_columns(ConstView view, int n, int y, int x, int width, float* H,
                       std::ptrdiff_t row_stride, std::ptrdiff_t pixel_stride,
                       const Transform& transform) {
  for (int j = 0; j < width; ++j) {
    const bool inside = y + In <= view.h && x + j < view.w;
    for (int c = 0; c < view.c; c += kLanes) {
      const int count = min(kLanes, view.c - c);
      vfloat column[In], out[Out];
      if (inside && count == kLanes) {
        const float* from = view.pixel(n, y, x + j) + c;
#pragma GCC unroll 8
        for (int i = 0; i < In; ++i) column[i] = load(from + i * view.row_stride);
      } else {
        for (int i = 0; i < In; ++i) {
          column[i] = vfloat{};
          if (y + i >= view.h || x + j >= view.w) continue;
          const float* from = view.pixel(n, y + i, x + j) + c;
          column[i] = count == kLanes ? load(from) : load_part(from, count);
        }
      }
      transform(column, out);
#pragma GCC unroll 8
      for (int i = 0; i < Out; ++i) store(H + i * row_stride + j * pixel_stride + c, out[i]);
    }
  }
}

// The same for all parts.
template <int In, int Out, class Transform>
void transform_columns(const ConcatView& views, int n, int y, int x, int width, float* H,
                       std::ptrdiff_t row_stride, std::ptrdiff_t pixel_stride,
                       const Transform& transform) {
  for (int p = 0; p < views.parts; ++p) {
    transform_columns<In, Out>(views.part[p], n, y, x, width, H, row_stride, pixel_stride,
                               transform);
    H += views.part[p].c;
  }
}

// One tile's row of positions, to[Out], from the In pixels of one row of H.
template <int In, int Out, class Transform>
void transform_row(const float* H, std::ptrdiff_t pixel_stride, int channels, float* to,
                   std::ptrdiff_t position_stride, const Transform& transform) {
  for (int c = 0; c < channels; c += kLanes) {
    vfloat row[In], out[Out];
#pragma GCC unroll 8
    for (int j = 0; j < In; ++j) row[j] = load(H + j * pixel_stride + c);
    transform(row, out);
#pragma GCC unroll 8
    for (int j = 0; j < Out; ++j) store(to + j * position_stride + c, out[j]);
  }
}

// S [rows][Vectors * kLanes] = V[tiles][rows]t * D[tiles][Vectors * kLanes], of one position.
template <int Vectors, class F>
void sum_columns(const WeightsPlan<F>& plan, const float* V, const float* D, int tiles, int rows,
                 float* S) {
  const int step = even_rows(rows);
  for (int r = 0; r < rows; r += step) {
    with_rows(min(step, rows - r), [&](auto m) {
      Accumulators<decltype(m)::value> acc;
      clear(acc);
      outer_vectors<Vectors>(tiles, V + r, plan.v_tile, D, plan.d_tile, kLanes, acc);
      store_vectors<Vectors>(acc, kLanes, S + r * plan.s_row, plan.s_row);
    });
  }
}

// One block of channels, and how a chunk of tiles adds to its T.
template <class F>
class Block {
 public:
  // `own`: the thread's memory for H, V, D and S. `with_bias`: whether T takes the top_diff's sums.
  Block(const WeightsPlan<F>& plan, const ConcatView& bottom, ConstView top_diff, float* own,
        float* T, bool with_bias)
      : plan(plan),
        bottom(bottom),
        top_diff(top_diff),
        H_bottom(own),
        H_top_diff(H_bottom + F::kWindow * plan.h_bottom),
        V(H_top_diff + F::kWindow * plan.h_top_diff),
        D(V + F::kWindow * plan.v_position),
        S(D + F::kWindow * plan.d_position),
        T(T),
        bias(with_bias ? T + plan.t_bias() : nullptr) {}

  // T (+)= what the tiles [first, first + tiles) have to it.
  void add_tiles(int first, int tiles, bool add) const {
    transform_to_columns(first, tiles);
    for (int row = 0; row < F::kWindow; ++row) {
      transform_to_positions(row, first, tiles);
      if (bias != nullptr && row == 1) {  // the sum of a tile: position (1, 1)
        for (int c = 0; c < top_diff.c && !add; ++c) bias[c] = 0.0f;
        add_rows(D + plan.d_position, tiles, plan.d_tile, top_diff.c, bias);
      }
      sum_products(tiles);
      transform_sums(row, add);
    }
  }

 private:
  const WeightsPlan<F>& plan;
  const ConcatView bottom;  // of the block's channels
  const ConstView top_diff;
  float *const H_bottom, *const H_top_diff, *const V, *const D, *const S, *const T, *const bias;

  int inputs() const { return bottom.shape().c; }

  void transform_to_columns(int first, int tiles) const {
    const TileGrid& grid = plan.grid;
    int done = 0;  // pixels of the bottom
    for (int t = first; t < first + tiles;) {
      const int run = min(grid.columns - t % grid.columns, first + tiles - t);
      const int width = run * F::kTile;
      transform_columns<F::kWindow, F::kWindow>(
          bottom, grid.image(t), grid.y(t), grid.x(t), width + 2, H_bottom + done * plan.h_inputs,
          plan.h_bottom, plan.h_inputs, [](const vfloat* d, vfloat* out) { F::bottom(d, out); });
      transform_columns<F::kTile, F::kWindow>(
          top_diff, grid.image(t), grid.y(t), grid.x(t), width,
          H_top_diff + (t - first) * F::kTile * plan.h_outputs, plan.h_top_diff, plan.h_outputs,
          [](const vfloat* y, vfloat* out) { F::top_diff(y, out); });
      done += width + 2;
      t += run;
    }
  }

  void transform_to_positions(int row, int first, int tiles) const {
    const float* h = H_bottom + row * plan.h_bottom;
    const float* g = H_top_diff + row * plan.h_top_diff;
    for (int t = 0; t < tiles; ++t) {
      transform_row<F::kWindow, F::kWindow>(
          h, plan.h_inputs, inputs(), V + t * plan.v_tile, plan.v_position,
          [](const vfloat* d, vfloat* out) { F::bottom(d, out); });
      transform_row<F::kTile, F::kWindow>(
          g, plan.h_outputs, top_diff.c, D + t * plan.d_tile, plan.d_position,
          [](const vfloat* y, vfloat* out) { F::top_diff(y, out); });
      const bool last_of_run = (first + t + 1) % plan.grid.columns == 0;
      h += (F::kTile + (last_of_run ? 2 : 0)) * plan.h_inputs;
      g += F::kTile * plan.h_outputs;
    }
  }

  void sum_products(int tiles) const {
    for (int position = 0; position < F::kWindow; ++position) {
      const float* v = V + position * plan.v_position;
      const float* d = D + position * plan.d_position;
      float* s = S + position * plan.s_position;
      for (int c = 0; c < top_diff.c; c += kPanel) {
        const auto sum = top_diff.c - c <= kLanes ? sum_columns<1, F> : sum_columns<2, F>;
        sum(plan, v, d + c, tiles, inputs(), s + c);
      }
    }
  }

  // T [row][3] (+)= S.
  void transform_sums(int row, bool add) const {
    float* to = T + 3 * row * plan.s_position;
    for (std::ptrdiff_t e = 0; e < inputs() * plan.s_row; e += kLanes) {
      vfloat sums[F::kWindow], out[3];
#pragma GCC unroll 8
      for (int j = 0; j < F::kWindow; ++j) sums[j] = load(S + j * plan.s_position + e);
      F::filter_diff(sums, out);
#pragma GCC unroll 3
      for (int k = 0; k < 3; ++k) {
        float* p = to + k * plan.s_position + e;
        store(p, add ? load(p) + out[k] : out[k]);
      }
    }
  }
};

// Row `r` (one input channel) of T to weight_diff[:, ic, oc .. + columns).
template <bool kStreamed, class F>
void finish_row(const WeightsPlan<F>& plan, const float* T, int ic, int oc, int columns,
                bool accumulate, Filter weight_diff) {
  const std::ptrdiff_t offset = static_cast<std::ptrdiff_t>(ic) * weight_diff.oc + oc;
  for (int c = 0; c < columns; c += kLanes) {
    const int count = min(kLanes, columns - c);
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k) {
      vfloat sums[F::kWindow], out[3];
#pragma GCC unroll 8
      for (int i = 0; i < F::kWindow; ++i) sums[i] = load(T + (3 * i + k) * plan.s_position + c);
      F::filter_diff(sums, out);
      for (int i = 0; i < 3; ++i) {
        float* to = weight_diff.tap(i, k) + offset + c;
        if (kStreamed) {
          stream(to, out[i]);
        } else if (count == kLanes) {
          store(to, accumulate ? load(to) + out[i] : out[i]);
        } else {
          store_part(to, accumulate ? load_part(to, count) + out[i] : out[i], count);
        }
      }
    }
  }
}

// The solver reads large diffs when they have left the caches anyhow.
bool streams(Filter weight_diff, bool accumulate) {
  const std::ptrdiff_t OC = weight_diff.oc;
  return !accumulate &&
         worth_streaming({weight_diff.data, 1, weight_diff.oc, 9 * weight_diff.ic, 1, 0, OC, OC});
}

template <class F>
auto row_finisher(const Filter& weight_diff, bool accumulate) {
  return streams(weight_diff, accumulate) ? finish_row<true, F> : finish_row<false, F>;
}

// The parts of T added in order, into the first, and transformed: work for all threads.
template <class F>
void finish_splits(const WeightsPlan<F>& plan, float* T, bool accumulate, Filter weight_diff) {
  const auto finish = row_finisher<F>(weight_diff, accumulate);
#pragma omp for collapse(2) schedule(static)
  for (int b = 0; b < plan.blocks(); ++b) {
    for (int r = 0; r < plan.inputs; ++r) {
      const int ic = plan.first_input(b) + r, oc = plan.first_output(b);
      if (ic >= plan.IC) continue;
      float* first = T + b * plan.t_size + r * plan.s_row;
      for (int i = 0; i < 3 * F::kWindow; ++i) {
        float* sum = first + i * plan.s_position;
        for (int split = 1; split < plan.splits; ++split) {
          const float* part = sum + split * plan.blocks() * plan.t_size;
          for (int c = 0; c < plan.s_row; ++c) sum[c] += part[c];
        }
      }
      finish(plan, first, ic, oc, min(plan.outputs, plan.OC - oc), accumulate, weight_diff);
    }
  }
}

template <class F>
void finish_bias(const WeightsPlan<F>& plan, const float* T, bool accumulate, Span bias_diff) {
  for (int oc = 0; oc < bias_diff.size; ++oc) {
    float sum = accumulate ? bias_diff.data[oc] : 0.0f;
    for (int split = 0; split < plan.splits; ++split) {
      const int block = split * plan.blocks() + oc / plan.outputs;
      sum += T[block * plan.t_size + plan.t_bias() + oc % plan.outputs];
    }
    bias_diff.data[oc] = sum;
  }
}

template <class F>
void backward_with(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                   bool accumulate, float* workspace, Filter weight_diff, Span bias_diff) {
  const ConstView all = bottom.shape();
  const WeightsPlan<F> plan({all.n, all.c, all.h, all.w, top_diff.c});
  const auto finish = row_finisher<F>(weight_diff, accumulate);
  float* all_T = workspace + ctx.threads * plan.thread_floats();
#pragma omp parallel num_threads(ctx.threads)
  {
    float* own = workspace + thread_index() * plan.thread_floats();
#pragma omp for collapse(2) schedule(dynamic, 1)
    for (int split = 0; split < plan.splits; ++split) {
      for (int b = 0; b < plan.blocks(); ++b) {
        const int ic = plan.first_input(b), inputs = min(plan.inputs, plan.IC - ic);
        const int oc = plan.first_output(b), outputs = min(plan.outputs, plan.OC - oc);
        float* T = all_T + plan.t_index(split, b, thread_index()) * plan.t_size;
        ConstView diff = top_diff;
        diff.data += oc;
        diff.c = outputs;
        const Block<F> block(plan, channels_of(bottom, ic, inputs), diff, own, T, ic == 0);
        const int begin = plan.first_tile(split), end = plan.first_tile(split + 1);
        for (int first = begin; first < end; first += plan.chunk) {
          block.add_tiles(first, min(plan.chunk, end - first), first > begin);
        }
        if (plan.splits > 1) continue;
        for (int r = 0; r < inputs; ++r) {
          finish(plan, T + r * plan.s_row, ic + r, oc, outputs, accumulate, weight_diff);
        }
        if (ic > 0 || bias_diff.size == 0) continue;
        for (int c = 0; c < outputs; ++c) {
          float& sum = bias_diff.data[oc + c];
          sum = (accumulate ? sum : 0.0f) + T[plan.t_bias() + c];
        }
      }
    }
    if (plan.splits > 1) finish_splits(plan, all_T, accumulate, weight_diff);
    finish_streaming();
  }
  if (plan.splits > 1) finish_bias(plan, all_T, accumulate, bias_diff);
}

bool large_tiles(Algorithm algorithm, int n, int h, int w) {
  return takes_large_tiles(algorithm, TileGrid(F4::kTile, n, h, w).products(),
                           TileGrid(F6::kTile, n, h, w).products(), kSumTiles);
}

}  // namespace

void backward_weights(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                      Algorithm algorithm, bool accumulate, float* workspace, Filter weight_diff,
                      Span bias_diff) {
  const auto with = large_tiles(algorithm, top_diff.n, top_diff.h, top_diff.w) ? backward_with<F6>
                                                                               : backward_with<F4>;
  with(ctx, bottom, top_diff, accumulate, workspace, weight_diff, bias_diff);
}

std::ptrdiff_t backward_weights_workspace(const Context& ctx, const Conv3x3Shape& shape,
                                          Algorithm algorithm) {
  return large_tiles(algorithm, shape.n, shape.ih - 2, shape.iw - 2)
             ? WeightsPlan<F6>(shape).workspace(ctx.threads)
             : WeightsPlan<F4>(shape).workspace(ctx.threads);
}

}  // namespace unet::cpu::UNET_ISA::winograd
