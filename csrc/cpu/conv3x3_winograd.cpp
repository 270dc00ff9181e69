// conv3x3 forward and backward_data on the CPU by Winograd's minimal filtering (cpu/winograd.h).
//
// Both are one correlation, source (N,K,..) with filters [9][K][N_] to target (N,N_,..):
//   forward         source bottom,            filters weight,          target top
//   backward_data   source top_diff, padding 2, filters flipped, K = OC  target bottom_diff
//
//   source tiles --transform--> V [P][tiles][K]  --+
//                                                  +--> M [P][tiles][kPanel] --> target tiles
//   filters      --transform--> U [P][K][kPanel] --+              P = 36 or 64 positions
//
// Tiles at the right and at the bottom may be smaller, and take part in fewer positions
// (cpu/winograd_cover.h).
//
// Two ways to cut the work, chosen by size, with the same arithmetic per element:
//   by tiles     where there are more tiles than target channels: the filters are transformed once;
//                then each thread takes blocks of tiles through all three steps, so that V and M
//                stay in its L2 cache
//   by channels  where the filters are more, or fit in no cache (transformed they are four or seven
//                times the weights): all tiles are transformed together, then each thread takes
//                panels of target channels, some hundred source channels at a time:
//
//                  filters --gather--> taps --transform--> two rows of positions of U --> products
//
//                all in its L2 cache; few tiles leave room there for the products of several
//                panels, whose filters are then read in longer rows; the next filters are gathered
//                between the multiplications. Where tiles are few, U is not written at all
//                (cpu/winograd_few_tiles.h)
//
// Cost      2*N*K*N_*H*W * P/m^2 flop in the products: 4.5 or 3.6 per output and channel for tiles
//           of m = 4 or 6 pixels, where the direct sum has 18; the transforms are about 10 % more
//           at 64 channels
#include "cpu/conv3x3.h"
#include "cpu/gemm.h"
#include "cpu/stream.h"
#include "cpu/winograd.h"
#include "cpu/winograd_few_tiles.h"
#include "cpu/winograd_filters.h"
#include "cpu/winograd_plan.h"
#include "cpu/winograd_windows.h"

namespace unet::cpu::UNET_ISA::winograd {
namespace {

// Positions [first, first + positions) of M [P][tiles.count][product_row] (+)= V [P][..][k ..
// k + channels) * U [positions][channels][kPanel], of which the first `Vectors` vectors count. V
// lies in the L2 cache where the product is complete (`Whole`), in a farther one where it is added
// to another. `next` brings what comes next into the cache, in steps_of_products steps in all.
template <int Vectors, bool Whole, bool Add, class F, class Stream>
void multiply(const Plan<F>& plan, int first, int positions, const float* V, const TileRows& tiles,
              int k, int channels, const float* U, Stream& next, float* M) {
  for (int p = 0; p < positions; ++p) {
    const Tiles present = plan.of_position(first + p, tiles);
    if (present.begin == present.end) continue;
    const int step = even_rows(present.end - present.begin);
    const float* v = V + (first + p) * plan.position + tiles.t * plan.row + k;
    const float* u = U + p * plan.filter_stride;
    float* m = M + (first + p) * plan.product_stride(tiles.count);
    for (int i = present.begin; i < present.end; i += step) {
      // The next tiles, or the first ones of the next position.
      const std::ptrdiff_t ahead =
          i + step < present.end ? step * plan.row : plan.position - (i - present.begin) * plan.row;
      with_rows(min(step, present.end - i), [&](auto rows) {
        Accumulators<decltype(rows)::value> acc;
        if constexpr (Add) {
          load_vectors<Vectors>(m + i * plan.product_row, plan.product_row, kLanes, acc);
        } else {
          clear(acc);
        }
        const float* a = v + i * plan.row;
        const auto meanwhile = [&](const float* row) {
          next.step();
          if constexpr (!Whole) fetch_rows<decltype(rows)::value>(row, plan.row, ahead);
        };
        panel_vectors<Vectors>(channels, a, plan.row, u, kLanes, meanwhile, acc);
        store_vectors<Vectors>(acc, kLanes, m + i * plan.product_row, plan.product_row);
      });
    }
  }
}

// All source channels at once, for `columns` <= kPanel columns.
template <class F, class Stream>
void multiply_whole(const Plan<F>& plan, const float* V, const TileRows& tiles, const float* U,
                    int columns, Stream& next, float* M) {
  const auto products =
      columns <= kLanes ? multiply<1, true, false, F, Stream> : multiply<2, true, false, F, Stream>;
  products(plan, 0, F::kPositions, V, tiles, 0, plan.K, U, next, M);
}

// One row of positions, the source channels of a part of the filters.
template <class F>
void multiply_chunk(const Plan<F>& plan, int position_row, const float* V, const TileRows& tiles,
                    const FilterPart& part, const float* U, int columns, FilterStream& next,
                    float* M) {
  const auto first = columns <= kLanes ? multiply<1, false, false, F, FilterStream>
                                       : multiply<2, false, false, F, FilterStream>;
  const auto further = columns <= kLanes ? multiply<1, false, true, F, FilterStream>
                                         : multiply<2, false, true, F, FilterStream>;
  (part.k == 0 ? first : further)(plan, position_row * F::kWindow, F::kWindow, V, tiles, part.k,
                                  part.channels, U, next, M);
}

template <class F>
std::ptrdiff_t steps_of_products(const Plan<F>& plan, const FilterPart& part,
                                 const TileRows& tiles) {
  std::ptrdiff_t products = 0;
  for (int p = 0; p < F::kPositions; ++p) {
    const Tiles present = plan.of_position(p, tiles);
    const int count = present.end - present.begin;
    if (count > 0) products += ceil_div(count, even_rows(count));
  }
  return part.panels * products * ceil_div(part.channels, kLine);
}

// All positions of a part of the filters, from `taps` [panels][9][channels][kPanel], with U
// [2][F::kWindow][chunk][kPanel] as workspace and M [panels][P][tiles.count][kPanel].
template <class F>
void multiply_part(const Plan<F>& plan, const float* V, const TileRows& tiles,
                   const FilterPart& part, const float* taps, float* U, FilterStream& next,
                   float* M) {
  const std::ptrdiff_t row_floats = F::kWindow * plan.filter_stride;
  for (int g = 0; g < part.panels; ++g) {
    const int columns = min(kPanel, plan.columns - part.n - g * kPanel);
    for (int pair = 0; pair < F::kWindow / 2; ++pair) {
      float* const of_pair[2] = {U, U + row_floats};
      transform_pair<F>(pair, taps + g * panel_taps(part.channels), part.channels,
                        plan.filter_stride, of_pair);
      for (int which = 0; which < 2; ++which) {
        multiply_chunk(plan, row_of_pair<F>(pair, which), V, tiles, part, of_pair[which], columns,
                       next, M + g * plan.panel_products());
      }
    }
  }
}

// What happens to a result before it is stored.
struct Epilogue {
  const float* bias;  // or null
  FusedRelu relu;
  ReluOfBottom relu_of_bottom;
};

// Row t of M [P][tiles][product_row] to a tile of the target, channels [n, n + kPanel).
template <bool Streamed, class F, class Y, class X>
void transform_products(const Plan<F>& plan, const float* M, int tiles, int t, const Tile& tile,
                        int n, const Epilogue& end, View target) {
  const std::ptrdiff_t stride = plan.product_stride(tiles);
  const int image = tile.image, y = tile.y, x = tile.x;
  const ConstView& bottom = end.relu_of_bottom.bottom;
  const int height = min(Y::kTile, target.h - y), width = min(X::kTile, target.w - x);
  for (int v = 0; v < kPanel && n + v < target.c; v += kLanes) {
    const int c = n + v, count = min(kLanes, target.c - c);
    vfloat start{};
    if (end.bias != nullptr) {
      start = count == kLanes ? load(end.bias + c) : load_part(end.bias + c, count);
    }
    const float* m = M + t * plan.product_row + v;
    float* origin = target.pixel(image, y, x) + c;
    const float* sign = end.relu_of_bottom.on() ? bottom.pixel(image, y, x) + c : nullptr;
    transform_2d<Y::kWindow, X::kWindow, Y::kTile, X::kTile>(
        [&](int i, int j) {
          const int position = point<F, Y>(i) * F::kWindow + point<F, X>(j);
          return load(m + position * stride);
        },
        [&](int i, int j, vfloat value) {
          value = value * (Y::kScale * X::kScale) + start;
          if (end.relu.on) value = value > 0.0f ? value : value * end.relu.negative_slope;
          if (i >= height || j >= width) return;
          if (sign != nullptr) {
            const float* p = sign + i * bottom.row_stride + j * bottom.pixel_stride;
            const vfloat data = count == kLanes ? load(p) : load_part(p, count);
            value = data > 0.0f ? value : value * end.relu_of_bottom.negative_slope;
          }
          float* to = origin + i * target.row_stride + j * target.pixel_stride;
          if (count == kLanes) {
            store_or_stream<Streamed>(to, value);
          } else {
            store_part(to, value, count);
          }
        },
        [](const vfloat* products, vfloat* out) { Y::top(products, out); },
        [](const vfloat* products, vfloat* out) { X::top(products, out); });
  }
}

// M [P][tiles.count][product_row] to the target, channels [n, n + kPanel).
template <bool Streamed, class F>
void finish_products(const Plan<F>& plan, const float* M, const TileRows& tiles, int n,
                     const Epilogue& end, View target) {
  for (int t = 0; t < tiles.count; ++t) {
    const Tile tile = plan.cover.tile(tiles.first + t);
    with_size<F>(tile.height, [&](auto y) {
      with_size<F>(tile.width, [&](auto x) {
        transform_products<Streamed, F, decltype(y), decltype(x)>(plan, M, tiles.count, t, tile, n,
                                                                  end, target);
      });
    });
  }
}

template <class F, class FilterView>
void correlate_by_tiles(const Context& ctx, const ConcatView& source, int padding,
                        const FilterView& filter, const Epilogue& end, const Plan<F>& plan,
                        float* workspace, View target) {
  float* U = workspace;  // [panels][P][K][kPanel]
  const std::ptrdiff_t panel_floats = F::kPositions * plan.filter_stride;
  const std::ptrdiff_t row_floats = F::kWindow * plan.filter_stride;
  const auto finish =
      worth_streaming(target) ? finish_products<true, F> : finish_products<false, F>;
  const int chunks = static_cast<int>(ceil_div(plan.K, plan.chunk));
  const ConcatView signs = end.relu_of_bottom.bottom;
  const auto windows = [&](const TileRows& tiles) {
    return WindowRows<F>(source, plan.cover, 2, -padding, tiles.first, tiles.count);
  };
  const auto windows_of_signs = [&](const TileRows& tiles) {
    if (!end.relu_of_bottom.on()) return WindowRows<F>();
    return WindowRows<F>(signs, plan.cover, 0, 0, tiles.first, tiles.count);
  };
  int blocks = 0;  // that threads have taken
#pragma omp parallel num_threads(ctx.threads)
  {
    float* taps = U + plan.filters + thread_index() * (plan.taps + plan.tiles + plan.products);
#pragma omp for collapse(2) schedule(static)
    for (int p = 0; p < plan.panels; ++p) {
      for (int c = 0; c < chunks; ++c) {
        const int k = c * plan.chunk, channels = min(plan.chunk, plan.K - k);
        filter.gather({k, channels, p * kPanel, 1}, taps);
        float* of_chunk = U + p * panel_floats + static_cast<std::ptrdiff_t>(k) * kPanel;
        for (int pair = 0; pair < F::kWindow / 2; ++pair) {
          float* const to[2] = {of_chunk + row_of_pair<F>(pair, 0) * row_floats,
                                of_chunk + row_of_pair<F>(pair, 1) * row_floats};
          transform_pair<F>(pair, taps, channels, plan.filter_stride, to);
        }
      }
    }
    float* V = taps + plan.taps;
    float* M = V + plan.tiles;
    const auto take_block = [&] {
      int taken;
#pragma omp atomic capture
      taken = blocks++;
      return taken;
    };
    TileRows tiles = plan.tiles_of_block(take_block());
    while (tiles.count > 0) {
      const TileRows next = plan.tiles_of_block(take_block());
      touch(windows(tiles));
      for (int t = 0; t < tiles.count; ++t) {
        transform_window<F>(source, plan.cover.tile(tiles.first + t), padding, V + t * plan.row,
                            plan.position);
      }
      const std::ptrdiff_t steps = steps_of_products(plan, {0, plan.K, 0, 1}, tiles);
      for (int p = 0; p < plan.panels; ++p) {
        const int columns = min(kPanel, plan.columns - p * kPanel);
        WindowStream<F> stream(steps);
        if (p == 0) stream.add(windows_of_signs(tiles));
        if (p == plan.panels - 1) stream.add(windows(next));
        multiply_whole(plan, V, tiles, U + p * panel_floats, columns, stream, M);
        if (p == 0) touch(windows_of_signs(tiles));  // all channels, in the order of the memory
        finish(plan, M, tiles, p * kPanel, end, target);
      }
      finish_streaming();
      tiles = next;
    }
  }
}

template <class F, class FilterView>
void correlate_by_channels(const Context& ctx, const ConcatView& source, int padding,
                           const FilterView& filter, const Epilogue& end, const Plan<F>& plan,
                           float* workspace, View target) {
  float* V = workspace;
  auto steps = steps_of_products<F>;
  auto products = multiply_part<F>;
  if constexpr (kFewTiles > 0) {
    if (plan.few_tiles) steps = steps_of_few_tiles<F>, products = multiply_few_tiles<F>;
  }
  const auto finish =
      worth_streaming(target) ? finish_products<true, F> : finish_products<false, F>;
  int groups = 0;  // of panels, that threads have taken
#pragma omp parallel num_threads(ctx.threads)
  {
    const auto take_group = [&] {
      int taken;
#pragma omp atomic capture
      taken = groups++;
      return taken * plan.group;
    };
    float* taps = V + plan.tiles + thread_index() * (plan.taps + plan.filters + plan.products);
    float* spare = taps + plan.taps / 2;
    float* U = taps + plan.taps;  // or H, where tiles are few
    float* M = U + plan.filters;
    for (int first = 0; first < plan.cover.count(); first += plan.block) {
      const int tiles = min(plan.block, plan.cover.count() - first);
      // As many chunks of tiles for each thread.
      const int chunks = static_cast<int>(round_up(ceil_div(tiles, kWindows), ctx.threads));
#pragma omp single nowait
      groups = 0;
#pragma omp for schedule(dynamic, static_cast<int>(ceil_div(tiles, chunks)))
      for (int t = 0; t < tiles; ++t) {
        touch(WindowRows<F>(source, plan.cover, 2, -padding, first + t, 1));
        transform_window<F>(source, plan.cover.tile(first + t), padding, V + t * plan.row,
                            plan.position);
      }
      bool gathered = false;
      Turn next{take_group(), 0, 0};
      while (next.p < plan.panels) {
        const Turn turn = next;
        if (!plan.advance(next, tiles)) next = {take_group(), 0, 0};
        const FilterPart part = plan.part(turn);
        const TileRows rows{first + turn.begin, turn.begin, plan.count(turn, tiles)};
        if (!gathered) filter.gather(part, taps);
        FilterStream stream(
            next.p < plan.panels ? filter.rows(plan.part(next), spare) : FilterRows{},
            steps(plan, part, rows));
        products(plan, V, rows, part, taps, U, stream, M);
        stream.finish();
        gathered = stream.any();
        if (gathered) swap(taps, spare);
        if (next.k > 0) continue;  // more channels of the same products
        for (int g = 0; g < part.panels; ++g) {
          finish(plan, M + g * plan.panel_products(), rows, part.n + g * kPanel, end, target);
        }
        finish_streaming();
      }
#pragma omp barrier
    }
  }
}

template <class F, class FilterView>
void correlate_with(const Context& ctx, const ConcatView& source, int padding,
                    const FilterView& filter, const Epilogue& end, float* workspace, View target) {
  const Plan<F> plan(ctx.threads, target.n, target.h, target.w, filter.channels(), filter.columns(),
                     FilterView::in_order);
  const auto cut =
      plan.by_tiles ? correlate_by_tiles<F, FilterView> : correlate_by_channels<F, FilterView>;
  cut(ctx, source, padding, filter, end, plan, workspace, target);
}

// Whether a target of n images of h x w pixels is cut into the tiles of F6.
bool large_tiles(Algorithm algorithm, int n, int h, int w) {
  const Cover<F6> large(n, h, w);
  return takes_large_tiles(algorithm, Cover<F4>(n, h, w).products(), large.products(),
                           large.count() <= kFewTiles ? kFilterTilesOfFew : kFilterTiles);
}

template <class FilterView>
void correlate(const Context& ctx, const ConcatView& source, int padding, const FilterView& filter,
               const Epilogue& end, Algorithm algorithm, float* workspace, View target) {
  const auto with = large_tiles(algorithm, target.n, target.h, target.w)
                        ? correlate_with<F6, FilterView>
                        : correlate_with<F4, FilterView>;
  with(ctx, source, padding, filter, end, workspace, target);
}

}  // namespace

void forward(const Context& ctx, const ConcatView& bottom, ConstFilter weight, ConstSpan bias,
             FusedRelu relu, Algorithm algorithm, float* workspace, View top) {
  correlate(ctx, bottom, 0, ForwardFilter{weight}, {bias.data, relu, {}}, algorithm, workspace,
            top);
}

void backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                   const ReluOfBottom& relu, Algorithm algorithm, float* workspace,
                   View bottom_diff) {
  correlate(ctx, top_diff, 2, FlippedFilter{weight}, {nullptr, {}, relu}, algorithm, workspace,
            bottom_diff);
}

std::ptrdiff_t workspace(const Context& ctx, const Conv3x3Shape& s, Pass pass,
                         Algorithm algorithm) {
  const auto of = [&](int h, int w, int k, int n, bool in_order) {
    return large_tiles(algorithm, s.n, h, w)
               ? Plan<F6>(ctx.threads, s.n, h, w, k, n, in_order).workspace(ctx.threads)
               : Plan<F4>(ctx.threads, s.n, h, w, k, n, in_order).workspace(ctx.threads);
  };
  switch (pass) {
    case Pass::kForward:
      return of(s.ih - 2, s.iw - 2, s.ic, s.oc, true);
    case Pass::kBackwardData:
      return of(s.ih, s.iw, s.oc, s.ic, false);
    case Pass::kBackwardWeights:
      break;
  }
  return backward_weights_workspace(ctx, s, algorithm);
}

}  // namespace unet::cpu::UNET_ISA::winograd
