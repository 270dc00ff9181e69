// Matrix products over pixels on the CPU.
//
// multiply: a strip of image rows that stays in the L2 cache meets one panel of the weights
// after the other, which comes in order from the L2 cache while a tile is summed up:
//
//              kPanel output channels
//             +----+----+----+           packed [dest][panel][source][channel][kPanel]
//      strip  |tile|    |    |           tile: kRows pixels, all sums in registers
//        of   +----+----+----+
//      pixels |    |    |    |
//             +----+----+----+
//
// sum_outer_products: a unit of work owns a group of panels, each kPanel output channels of one
// tap, whose sums with all input channels stay in the L2 cache, and a part of the rows. It copies a
// few rows of a panel of the top_diff to where they lie densely, multiplies, and adds up such
// blocks: short sums of short sums lose fewer digits.
//
// Cost   2*K*C flop per pixel, source and dest; compute-bound from about 16 channels
// Order  of every sum: source, channel (multiply); part of the rows, block, pixel (outer products)
#include "cpu/pointwise.h"

#include <cstdint>

#include "cpu/bias.h"
#include "cpu/gemm.h"

namespace unet::cpu::UNET_ISA::pointwise {
namespace {

constexpr std::ptrdiff_t kStripFloats = 64 << 10;     // of all sources in a strip
constexpr int kMultiplyUnits = 32, kOuterUnits = 16;  // pieces of work to be had at least
constexpr std::ptrdiff_t kGroupFloats = 64 << 10;     // sums of a group of panels
constexpr int kBlockPixels = 384;  // whose outer products are summed in registers
// Rows of a tile this far apart fall into one set of the L1 cache and evict one another.
constexpr int kCollidingStride = 1024;
constexpr int kApart = 16;

// Panels that start at a cache line are read a third faster. The caller's floats may start
// anywhere.
float* at_cache_line(float* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  return p + (64 - address % 64) % 64 / sizeof(float);
}

int strip_rows(int K, int sources, int W) {
  const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(K) * sources * W;
  return static_cast<int>(max<std::ptrdiff_t>(1, kStripFloats / row));
}

std::ptrdiff_t packed_floats(int sources, int dests, int K, int C) {
  return static_cast<std::ptrdiff_t>(dests) * sources * K * round_up(C, kPanel);
}

std::ptrdiff_t strip_floats(int sources, int K, int W) {
  return static_cast<std::ptrdiff_t>(sources) * strip_rows(K, sources, W) * W * (K + kApart);
}

// to[k][n] = from[k*ld + n] for `columns` <= kPanel of n, else 0.
void pack_rows(const float* from, std::ptrdiff_t ld, int K, int columns, float* to) {
  if (columns % kLanes != 0) return pack_panel(from, ld, K, columns, to);
  for (int k = 0; k < K; ++k, from += ld, to += kPanel) {
    for (int v = 0; v < kPanel; v += kLanes) {
      store(to + v, v < columns ? load(from + v) : vfloat{});
    }
  }
}

// to[k][n] = from[n*ld + k]: whole cache lines of a column are read before the next one.
void pack_columns(const float* from, std::ptrdiff_t ld, int K, int columns, float* to) {
  for (int k0 = 0; k0 < K; k0 += kLine) {
    const int count = min(kLine, K - k0);
    for (int n = 0; n < kPanel; ++n) {
      const float* column = from + n * ld + k0;
      for (int k = 0; k < count; ++k) {
        to[(k0 + k) * kPanel + n] = n < columns ? column[k] : 0.0f;
      }
    }
  }
}

void pack(const Context& ctx, const Product& product, const Taps& taps, float* packed) {
  const int K = product.source[0].c, C = product.dest[0].c;
  const int panels = static_cast<int>(ceil_div(C, kPanel));
  const std::ptrdiff_t panel_floats = static_cast<std::ptrdiff_t>(product.sources) * K * kPanel;
#pragma omp parallel for schedule(dynamic, 1) num_threads(ctx.threads)
  for (int i = 0; i < product.dests * panels; ++i) {
    const int dest = i / panels, n = i % panels * kPanel, columns = min(kPanel, C - n);
    float* to = packed + i * panel_floats;
    for (int t = 0; t < product.sources; ++t, to += K * kPanel) {
      const float* weight = taps.weight[dest + t];
      const std::ptrdiff_t ld = taps.OC;
      if (taps.transposed) {
        pack_columns(weight + n * ld, ld, K, columns, to);
      } else {
        pack_rows(weight + n, ld, K, columns, to);
      }
    }
  }
}

// The pixels of a tile in all sources.
struct TileOfSources {
  const float* first[kMaxTaps];
  std::ptrdiff_t stride;
  int sources;
};

// Kept out of the loops over tiles, and free of loops but the kernel's: else the compiler keeps
// their state in registers and spills accumulators.
template <int M>
[[gnu::noinline]] void multiply_tile(const ChunkOfPanel& chunk, const TileOfSources& a,
                                     std::ptrdiff_t ahead, float* to, std::ptrdiff_t stride) {
  Accumulators<M> acc;
  begin_tile(chunk, to, stride, acc);
  const float* panel = chunk.panel;
  for (int t = 0; t < a.sources; ++t, panel += chunk.count * kPanel) {
    if (ahead != 0 && chunk.columns == kPanel) {
      const auto fetch_next = [&](const float* row) { fetch_rows<M>(row, a.stride, ahead); };
      panel_vectors<2>(chunk.count, a.first[t], a.stride, panel, kLanes, fetch_next, acc);
    } else {
      panel_kernel(chunk.count, a.first[t], a.stride, panel, chunk.columns, acc);
    }
  }
  end_tile(chunk, acc, to, stride);
}

// Rows [begin, end) of image n of one dest, times one panel that starts at channel c.
void multiply_strip(const Product& product, const ConstView* source, View dest, const float* panel,
                    int n, int begin, int end, int c, bool large) {
  const int columns = min(kPanel, dest.c - c), step = even_rows(dest.w);
  const bool streamed = large && columns % kLanes == 0;
  const std::ptrdiff_t ahead = product.sources > 1 ? step * source[0].pixel_stride : 0;
  float bias[kPanel] = {};
  for (int i = 0; i < columns && product.bias != nullptr; ++i) bias[i] = product.bias[c + i];
  const ChunkOfPanel chunk{source[0].c, panel, bias, columns, product.relu, streamed};
  TileOfSources tile{{}, source[0].pixel_stride, product.sources};
  for (int h = begin; h < end; ++h) {
    for (int w = 0; w < dest.w; w += step) {
      for (int t = 0; t < product.sources; ++t) tile.first[t] = source[t].pixel(n, h, w);
      with_rows(min(step, dest.w - w), [&](auto rows) {
        multiply_tile<decltype(rows)::value>(chunk, tile, ahead, dest.pixel(n, h, w) + c,
                                             dest.pixel_stride);
      });
    }
  }
  if (streamed) finish_streaming();
}

// Rows [begin, end) of image n of the source, copied to where tile rows do not collide. The view
// that comes back has the same indices.
ConstView copy_apart(ConstView source, int n, int begin, int end, float* to) {
  const std::ptrdiff_t pixel = source.c + kApart, row = source.w * pixel;
  for (int h = begin; h < end; ++h) {
    for (int w = 0; w < source.w; ++w) {
      const float* from = source.pixel(n, h, w);
      float* at = to + (h - begin) * row + w * pixel;
      int c = 0;
      for (; c + kLanes <= source.c; c += kLanes) store(at + c, load(from + c));
      for (; c < source.c; ++c) at[c] = from[c];
    }
  }
  return {to - begin * row, source.n, source.c, source.h, source.w, 0, row, pixel};
}

// Copies `columns` <= kPanel channels of the pixels of rows [begin, end), counted over all images.
void pack_pixels(ConstView view, int begin, int end, int c, int columns, float* to) {
  for (int row = begin; row < end; ++row) {
    const float* from = view.pixel(row / view.h, row % view.h, 0) + c;
    pack_rows(from, view.pixel_stride, view.w, columns, to);
    to += static_cast<std::ptrdiff_t>(view.w) * kPanel;
  }
}

// How the outer products are cut, by shape alone.
struct OuterPlan {
  int panels;      // of kPanel output channels, per tap
  int groups;      // of panels whose sums fit the L2 cache together
  int splits;      // of the rows, so that there is work for many threads
  int block_rows;  // packed at a time
  std::ptrdiff_t packed_floats;
};

OuterPlan outer_plan(int taps, int IC, int OC, int rows, int W) {
  OuterPlan plan;
  plan.panels = static_cast<int>(ceil_div(OC, kPanel));
  const std::ptrdiff_t panel_floats = static_cast<std::ptrdiff_t>(IC) * kPanel;
  plan.groups = static_cast<int>(min<std::ptrdiff_t>(
      taps * plan.panels, ceil_div(taps * plan.panels * panel_floats, kGroupFloats)));
  plan.splits = min(rows, max(1, kOuterUnits / plan.groups));
  plan.block_rows = max(1, kBlockPixels / W);
  plan.packed_floats = static_cast<std::ptrdiff_t>(plan.block_rows) * W * kPanel;
  return plan;
}

// sum[M][kPanel] (+)= products of rows [begin, end) of bottom, from channel `ic` on, with the
// packed pixels, of which `columns` count: kLanes or kPanel.
template <int M>
[[gnu::noinline]] void sum_tile(const ConstView& bottom, int begin, int end, int ic,
                                const float* packed, int columns, bool first, float* sum) {
  Accumulators<M> acc;
  clear(acc);
  for (int row = begin; row < end; ++row) {
    const float* a = bottom.pixel(row / bottom.h, row % bottom.h, 0) + ic;
    outer_kernel(bottom.w, a, bottom.pixel_stride, packed, kPanel, columns, acc);
    packed += static_cast<std::ptrdiff_t>(bottom.w) * kPanel;
  }
  for (int m = 0; m < M && !first; ++m) {
    for (int v = 0; v < kVectors; ++v) acc.v[m][v] += load(sum + m * kPanel + v * kLanes);
  }
  store_tile(acc, kPanel, sum, kPanel);
}

// sum[IC][kPanel] likewise.
void sum_block(const ConstView& bottom, int begin, int end, const float* packed, int columns,
               bool first, float* sum) {
  const int step = even_rows(bottom.c);
  for (int ic = 0; ic < bottom.c; ic += step) {
    with_rows(min(step, bottom.c - ic), [&](auto rows) {
      sum_tile<decltype(rows)::value>(bottom, begin, end, ic, packed, columns, first,
                                      sum + ic * kPanel);
    });
  }
}

}  // namespace

void multiply(const Context& ctx, const Product& product, const Taps& taps, float* workspace) {
  const ConstView& first = product.source[0];
  const int K = first.c, H = first.h, W = first.w;
  const int panels = static_cast<int>(ceil_div(product.dest[0].c, kPanel));
  const int pairs = product.dests * panels;  // of dest and panel
  const int rows = strip_rows(K, product.sources, W);
  const int strips = static_cast<int>(ceil_div(H, rows));
  const int groups =
      static_cast<int>(min<std::ptrdiff_t>(pairs, ceil_div(kMultiplyUnits, first.n * strips)));
  const std::ptrdiff_t panel_floats = static_cast<std::ptrdiff_t>(product.sources) * K * kPanel;
  bool large = true;
  for (int d = 0; d < product.dests; ++d) {
    large = large && worth_streaming(product.dest[d], product.dests);
  }
  const bool collides = first.pixel_stride % kCollidingStride == 0;
  float* const packed = at_cache_line(workspace);
  pack(ctx, product, taps, packed);
  float* const copies =
      packed + packed_floats(product.sources, product.dests, K, product.dest[0].c);
#pragma omp parallel for collapse(3) schedule(dynamic, 1) num_threads(ctx.threads)
  for (int n = 0; n < first.n; ++n) {
    for (int strip = 0; strip < strips; ++strip) {
      for (int group = 0; group < groups; ++group) {
        const int begin = strip * rows, end = min(begin + rows, H);
        ConstView source[kMaxTaps];
        float* copy = copies + thread_index() * strip_floats(product.sources, K, W);
        for (int t = 0; t < product.sources; ++t) {
          source[t] = product.source[t];
          if (!collides) continue;
          source[t] = copy_apart(product.source[t], n, begin, end, copy);
          copy += static_cast<std::ptrdiff_t>(rows) * W * (K + kApart);
        }
        for (int i = pairs * group / groups; i < pairs * (group + 1) / groups; ++i) {
          multiply_strip(product, source, product.dest[i / panels], packed + i * panel_floats, n,
                         begin, end, i % panels * kPanel, large);
        }
      }
    }
  }
}

std::ptrdiff_t multiply_workspace(const Context& ctx, int sources, int dests, int K, int C, int W) {
  return kLine + packed_floats(sources, dests, K, C) + ctx.threads * strip_floats(sources, K, W);
}

void sum_outer_products(const Context& ctx, ConstView bottom, const ConstView* top_diff, int taps,
                        bool accumulate, float* workspace, float* const* weight_diff,
                        Span bias_diff) {
  const int IC = bottom.c, OC = top_diff[0].c, rows = bottom.n * bottom.h;
  const OuterPlan plan = outer_plan(taps, IC, OC, rows, bottom.w);
  const std::ptrdiff_t panel_floats = static_cast<std::ptrdiff_t>(IC) * kPanel;
  float* const aligned = at_cache_line(workspace);
  float* const sums = aligned + ctx.threads * plan.packed_floats;
  // [splits][taps * panels][kPanel]: the top_diff's
  float* const bias_sums =
      sums + static_cast<std::ptrdiff_t>(plan.splits) * taps * plan.panels * panel_floats;
  const auto add_to_diff = [&](int panel, const float* sum, int ic) {
    const int oc = panel % plan.panels * kPanel, columns = min(kPanel, OC - oc);
    float* to = weight_diff[panel / plan.panels] + static_cast<std::ptrdiff_t>(ic) * OC + oc;
    for (int n = 0; n < columns; ++n) to[n] = (accumulate ? to[n] : 0.0f) + sum[n];
  };
#pragma omp parallel num_threads(ctx.threads)
  {
#pragma omp for collapse(2) schedule(dynamic, 1)
    for (int split = 0; split < plan.splits; ++split) {
      for (int group = 0; group < plan.groups; ++group) {
        const int first = taps * plan.panels * group / plan.groups;
        const int last = taps * plan.panels * (group + 1) / plan.groups;
        const auto row_of = [&](int i) {
          return static_cast<int>(static_cast<std::ptrdiff_t>(rows) * i / plan.splits);
        };
        float* packed = aligned + thread_index() * plan.packed_floats;
        float* sum =
            sums + (static_cast<std::ptrdiff_t>(split) * taps * plan.panels + first) * panel_floats;
        float* bias_sum =
            bias_sums + (static_cast<std::ptrdiff_t>(split) * taps * plan.panels + first) * kPanel;
        for (int i = 0; i < (last - first) * kPanel; ++i) bias_sum[i] = 0.0f;
        for (int row = row_of(split); row < row_of(split + 1); row += plan.block_rows) {
          const int end = min(row + plan.block_rows, row_of(split + 1));
          for (int panel = first; panel < last; ++panel) {
            const int oc = panel % plan.panels * kPanel, columns = min(kPanel, OC - oc);
            pack_pixels(top_diff[panel / plan.panels], row, end, oc, columns, packed);
            float block_sum[kPanel] = {};
            add_rows(packed, (end - row) * bottom.w, kPanel, kPanel, block_sum);
            for (int i = 0; i < kPanel; ++i) bias_sum[(panel - first) * kPanel + i] += block_sum[i];
            sum_block(bottom, row, end, packed, columns <= kLanes ? kLanes : kPanel,
                      row == row_of(split), sum + (panel - first) * panel_floats);
          }
        }
        if (plan.splits > 1) continue;
        for (int panel = first; panel < last; ++panel) {
          for (int ic = 0; ic < IC; ++ic, sum += kPanel) add_to_diff(panel, sum, ic);
        }
      }
    }
#pragma omp for schedule(static)
    for (int i = 0; i < (plan.splits > 1 ? taps * plan.panels * IC : 0); ++i) {
      float* sum = sums + static_cast<std::ptrdiff_t>(i) * kPanel;
      for (int split = 1; split < plan.splits; ++split) {
        const float* other = sum + split * taps * plan.panels * panel_floats;
        for (int v = 0; v < kPanel; v += kLanes) store(sum + v, load(sum + v) + load(other + v));
      }
      add_to_diff(i / IC, sum, i % IC);
    }
  }
  for (int oc = 0; oc < bias_diff.size; ++oc) {
    float sum = accumulate ? bias_diff.data[oc] : 0.0f;
    for (int i = 0; i < plan.splits * taps; ++i) {
      sum += bias_sums[i * plan.panels * kPanel + oc];
    }
    bias_diff.data[oc] = sum;
  }
}

std::ptrdiff_t sum_outer_products_workspace(const Context& ctx, int taps, int IC, int OC, int rows,
                                            int W) {
  const OuterPlan plan = outer_plan(taps, IC, OC, rows, W);
  return kLine + ctx.threads * plan.packed_floats +
         static_cast<std::ptrdiff_t>(plan.splits) * taps * plan.panels * (IC + 1) * kPanel;
}

}  // namespace unet::cpu::UNET_ISA::pointwise
