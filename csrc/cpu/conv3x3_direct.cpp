// conv3x3 by direct summation on the CPU: implicit GEMM, the im2col matrix is never stored.
//
// forward, for one output row of one image:
//   top[OW x OC] = bias + sum over 9 taps of bottom[OW x IC] (shifted by the tap) * weight[IC x OC]
//
//                 OC ->                       a register tile is kRows pixels x kPanel channels;
//        ow   +--------+--------+             its 9 * kChunk products are summed without leaving
//        |    | tile   |        |             the registers. A strip of output rows meets one
//        v    +--------+--------+             panel [9][kChunk][kPanel] of the weights after the
//                 panel                       other, so that the panel stays in the L2 cache.
//
// backward_data is the forward pass over top_diff with a border of two zeros, taps flipped and
// channels exchanged. backward_weights sums the outer products of bottom and top_diff pixels, in a
// number of partial sums that depends on the shape alone.
//
// Cost      18*N*IC*OC*OH*OW flop in every pass; compute-bound from about 8 channels
// Order     of every sum: chunk of input channels, kh, kw, input channel
#include "cpu/bias.h"
#include "cpu/concat_view.h"
#include "cpu/conv3x3.h"
#include "cpu/gemm.h"

namespace unet::cpu::UNET_ISA::direct {
namespace {

constexpr int kChunk = 128;        // input channels summed in registers at a time
constexpr int kStripPixels = 512;  // output pixels that share a weight panel in the L2 cache
constexpr int kMaxSplits = 16;     // of the pixels in backward_weights
constexpr int kFewChannels = 4;    // input channels, at most, whose taps are the rows of a tile
constexpr std::ptrdiff_t kSplitFloats = 2 << 20;  // budget for all partial sums, 8 MB

std::ptrdiff_t packed_weights(int IC, int OC) { return 9 * IC * round_up(OC, kPanel); }

// Element (k, n) of tap (kh, kw) of the matrix that a pass multiplies by.
struct ForwardWeights {
  ConstFilter w;
  int channels() const { return w.ic; }
  int columns() const { return w.oc; }
  float at(int kh, int kw, int k, int n) const {
    return w.tap(kh, kw)[static_cast<std::ptrdiff_t>(k) * w.oc + n];
  }
};
struct FlippedWeights {
  ConstFilter w;
  int channels() const { return w.oc; }
  int columns() const { return w.ic; }
  float at(int kh, int kw, int k, int n) const {
    return w.tap(2 - kh, 2 - kw)[static_cast<std::ptrdiff_t>(n) * w.oc + k];
  }
};

// packed: for each panel, for each chunk of K: [9][chunk][kPanel].
template <class Weights>
void pack_weights(const Context& ctx, const Weights& weights, float* packed) {
  const int K = weights.channels(), N = weights.columns();
  const int panels = static_cast<int>(ceil_div(N, kPanel));
#pragma omp parallel for schedule(dynamic, 1) num_threads(ctx.threads)
  for (int panel = 0; panel < panels; ++panel) {
    float* to = packed + static_cast<std::ptrdiff_t>(panel) * 9 * K * kPanel;
    const int columns = min(kPanel, N - panel * kPanel);
    for (int k0 = 0; k0 < K; k0 += kChunk) {
      for (int tap = 0; tap < 9; ++tap) {
        for (int k = k0; k < min(k0 + kChunk, K); ++k, to += kPanel) {
          for (int n = 0; n < columns; ++n) {
            to[n] = weights.at(tap / 3, tap % 3, k, panel * kPanel + n);
          }
          for (int n = columns; n < kPanel; ++n) to[n] = 0.0f;
        }
      }
    }
  }
}

// M pixels of `to`; the 3x3 window of the first begins at (h, w) of image n of `from`, which holds
// the channels of the chunk; the panel is [9][count][kPanel]. Kept out of the loops over tiles:
// else the compiler keeps their state in registers and spills accumulators.
template <int M>
[[gnu::noinline]] void correlate_tile(const ChunkOfPanel& chunk, const ConcatView& from, int n,
                                      int h, int w, float* to, std::ptrdiff_t to_stride) {
  Accumulators<M> acc;
  begin_tile(chunk, to, to_stride, acc);
  const float* panel = chunk.panel;
  for (int tap = 0; tap < 9; ++tap) {
    for (int p = 0; p < from.parts; ++p) {
      const ConstView& part = from.part[p];
      panel_kernel(part.c, part.pixel(n, h + tap / 3, w + tap % 3), part.pixel_stride, panel,
                   chunk.columns, acc);
      panel += part.c * kPanel;
    }
  }
  end_tile(chunk, acc, to, to_stride);
}

// The same for a picture of one channel, whose neighbouring pixels are neighbours in memory. With
// one product per tap, working out where 14 pixels lie would cost more than the products: here
// these places are known when this is compiled.
template <int Vectors, int M>
[[gnu::noinline]] void correlate_gray_tile(const ChunkOfPanel& chunk, const float* from,
                                           std::ptrdiff_t row_stride, float* to,
                                           std::ptrdiff_t to_stride) {
  Accumulators<M> acc;
  begin_tile(chunk, to, to_stride, acc);
  const int second_vector = second(max(chunk.columns, kLanes));
#pragma GCC unroll 1
  for (int kh = 0; kh < 3; ++kh) {
    panel_vectors<Vectors>(3, from + kh * row_stride, 1, chunk.panel + 3 * kh * kPanel,
                           second_vector, acc);
  }
  end_tile(chunk, acc, to, to_stride);
}

// One strip of output rows times one panel of output channels.
void correlate_strip(const ConcatView& bottom, int K, const float* panel, const float* bias,
                     FusedRelu relu, int n, int row_begin, int row_end, int oc, bool large,
                     View top) {
  const int columns = min(kPanel, top.c - oc);
  const bool is_gray = K == 1 && bottom.part[0].pixel_stride == 1;
  const bool streamed = large && K <= kChunk && columns % kLanes == 0;
  float start[kPanel] = {};
  for (int i = 0; i < columns && bias != nullptr; ++i) start[i] = bias[oc + i];
  for (int k0 = 0; k0 < K; k0 += kChunk) {
    const int count = min(kChunk, K - k0);
    const ChunkOfPanel chunk{
        count,   panel, k0 == 0 ? start : nullptr, columns, k0 + count == K ? relu : FusedRelu{},
        streamed};
    const ConcatView from = channels_of(bottom, k0, count);
    for (int oh = row_begin; oh < row_end; ++oh) {
      for (int ow = 0; ow < top.w; ow += kRows) {
        with_rows(min(kRows, top.w - ow), [&](auto rows) {
          constexpr int M = decltype(rows)::value;
          float* to = top.pixel(n, oh, ow) + oc;
          if (is_gray) {
            const auto tile =
                columns <= kLanes ? correlate_gray_tile<1, M> : correlate_gray_tile<2, M>;
            return tile(chunk, bottom.part[0].pixel(n, oh, ow), bottom.part[0].row_stride, to,
                        top.pixel_stride);
          }
          correlate_tile<M>(chunk, from, n, oh, ow, to, top.pixel_stride);
        });
      }
    }
    panel += 9 * count * kPanel;
  }
  if (streamed) finish_streaming();
}

void correlate(const Context& ctx, const ConcatView& bottom, const float* packed, const float* bias,
               FusedRelu relu, View top) {
  const int K = bottom.shape().c;
  const int panels = static_cast<int>(ceil_div(top.c, kPanel));
  const int strip = max(1, kStripPixels / top.w);
  const int strips = static_cast<int>(ceil_div(top.h, strip));
  // Wide layers cut the channels among the threads, large images the rows.
  const int group = static_cast<std::ptrdiff_t>(strips) * top.n >= 32 ? panels : 1;
  const int groups = panels / group;
  const bool large = worth_streaming(top);
#pragma omp parallel for collapse(3) schedule(dynamic, 1) num_threads(ctx.threads)
  for (int g = 0; g < groups; ++g) {
    for (int n = 0; n < top.n; ++n) {
      for (int s = 0; s < strips; ++s) {
        for (int p = g * group; p < (g + 1) * group; ++p) {
          correlate_strip(bottom, K, packed + static_cast<std::ptrdiff_t>(p) * 9 * K * kPanel, bias,
                          relu, n, s * strip, min((s + 1) * strip, top.h), p * kPanel, large, top);
        }
      }
    }
  }
}

int weight_splits(const Conv3x3Shape& s) {
  const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(9) * s.ic * s.oc;
  const std::ptrdiff_t fit = max<std::ptrdiff_t>(1, kSplitFloats / size);
  return static_cast<int>(min<std::ptrdiff_t>(min<std::ptrdiff_t>(fit, kMaxSplits),
                                              static_cast<std::ptrdiff_t>(s.n) * (s.ih - 2)));
}

// The same sums for few input channels, which would leave most rows of a tile empty: one row of the
// image, one input channel and kLanes output channels. Rows of the tile are the nine taps, that lie
// tap_stride apart in `to`.
void sum_taps(ConstView bottom, ConstView top_diff, int n, int oh, int ic, int oc,
              std::ptrdiff_t tap_stride, float* to) {
  vfloat acc[9];
#pragma GCC unroll 9
  for (int tap = 0; tap < 9; ++tap) acc[tap] = load(to + tap * tap_stride);
  const float* diff = top_diff.pixel(n, oh, 0) + oc;
  const float* from = bottom.pixel(n, oh, 0) + ic;
  for (int ow = 0; ow < top_diff.w; ++ow) {
    const vfloat y = load(diff);
#pragma GCC unroll 9
    for (int tap = 0; tap < 9; ++tap) {
      acc[tap] += splat(from[tap / 3 * bottom.row_stride + tap % 3 * bottom.pixel_stride]) * y;
    }
    diff += top_diff.pixel_stride;
    from += bottom.pixel_stride;
  }
#pragma GCC unroll 9
  for (int tap = 0; tap < 9; ++tap) store(to + tap * tap_stride, acc[tap]);
}

// to [9][bottom.c of IC][OC] += the rows [begin, end) of all images, and if there is a `bias` [OC],
// that += the top_diff's; behind it lies room for the sum of a row.
void sum_outer_products(ConstView bottom, ConstView top_diff, int begin, int end, int IC, float* to,
                        float* bias) {
  const int channels = bottom.c, OC = top_diff.c, OW = top_diff.w;
  const int step = even_rows(channels);
  for (int row = begin; row < end; ++row) {
    const int n = row / top_diff.h, oh = row % top_diff.h;
    const float* diff = top_diff.pixel(n, oh, 0);
    // Comes first: it reads the row in the order of the memory.
    if (bias != nullptr) {
      float* row_sum = bias + OC;
      for (int oc = 0; oc < OC; ++oc) row_sum[oc] = 0.0f;
      add_rows(diff, OW, top_diff.pixel_stride, OC, row_sum);
      for (int oc = 0; oc < OC; ++oc) bias[oc] += row_sum[oc];
    }
    int whole = 0;  // output channels that are summed with the taps as rows
    for (; IC <= kFewChannels && whole + kLanes <= OC; whole += kLanes) {
      for (int c = 0; c < channels; ++c) {
        sum_taps(bottom, top_diff, n, oh, c, whole, static_cast<std::ptrdiff_t>(IC) * OC,
                 to + static_cast<std::ptrdiff_t>(c) * OC + whole);
      }
    }
    for (int oc = whole; oc < OC; oc += kPanel) {
      const int columns = min(kPanel, OC - oc);
      for (int tap = 0; tap < 9; ++tap) {
        const float* from = bottom.pixel(n, oh + tap / 3, tap % 3);
        for (int c = 0; c < channels; c += step) {
          float* sum = to + (static_cast<std::ptrdiff_t>(tap) * IC + c) * OC + oc;
          with_rows(min(step, channels - c), [&](auto rows) {
            constexpr int M = decltype(rows)::value;
            Accumulators<M> acc;
            load_tile(sum, OC, columns, acc);
            outer_kernel(OW, from + c, bottom.pixel_stride, diff + oc, top_diff.pixel_stride,
                         columns, acc);
            store_tile(acc, columns, sum, OC);
          });
        }
      }
    }
  }
}

}  // namespace

void forward(const Context& ctx, const ConcatView& bottom, ConstFilter weight, ConstSpan bias,
             FusedRelu relu, float* workspace, View top) {
  pack_weights(ctx, ForwardWeights{weight}, workspace);
  correlate(ctx, bottom, workspace, bias.data, relu, top);
}

void backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight, float* workspace,
                   View bottom_diff) {
  pack_weights(ctx, FlippedWeights{weight}, workspace);
  float* border = workspace + packed_weights(weight.oc, weight.ic);
  const int OC = top_diff.c, H = top_diff.h + 4, W = top_diff.w + 4;
  const View padded{border,
                    top_diff.n,
                    OC,
                    H,
                    W,
                    static_cast<std::ptrdiff_t>(H) * W * OC,
                    static_cast<std::ptrdiff_t>(W) * OC,
                    OC};
#pragma omp parallel for schedule(static) num_threads(ctx.threads)
  for (int row = 0; row < padded.n * H; ++row) {
    const int n = row / H, h = row % H - 2;
    for (int w = -2; w < W - 2; ++w) {
      float* to = padded.pixel(n, h + 2, w + 2);
      const bool inside = h >= 0 && h < top_diff.h && w >= 0 && w < top_diff.w;
      const float* from = inside ? top_diff.pixel(n, h, w) : nullptr;
      for (int c = 0; c < OC; ++c) to[c] = inside ? from[c] : 0.0f;
    }
  }
  correlate(ctx, ConstView(padded), workspace, nullptr, {}, bottom_diff);
}

void backward_weights(const Context& ctx, const ConcatView& bottom, ConstView top_diff,
                      bool accumulate, float* workspace, Filter weight_diff, Span bias_diff) {
  const ConstView all = bottom.shape();
  const int IC = all.c, rows = top_diff.n * top_diff.h;
  const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(9) * IC * top_diff.c;
  const int splits = weight_splits({all.n, IC, all.h, all.w, top_diff.c});
  const int block = 4 * kRows;
  const int blocks = static_cast<int>(ceil_div(IC, block));
  const auto bias_sum = [&](int split) {
    return workspace + splits * size + 2 * split * top_diff.c;
  };
#pragma omp parallel num_threads(ctx.threads)
  {
#pragma omp for collapse(2) schedule(dynamic, 1)
    for (int s = 0; s < splits; ++s) {
      for (int b = 0; b < blocks; ++b) {
        float* to = workspace + s * size;
        for (int oc = 0; oc < (b == 0 ? top_diff.c : 0); ++oc) bias_sum(s)[oc] = 0.0f;
        const int channels = min(block, IC - b * block);
        for (int tap = 0; tap < 9; ++tap) {
          float* sum = to + (static_cast<std::ptrdiff_t>(tap) * IC + b * block) * top_diff.c;
          for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(channels) * top_diff.c; ++i) {
            sum[i] = 0.0f;
          }
        }
        const auto row = [&](int i) {
          return static_cast<int>(static_cast<std::ptrdiff_t>(rows) * i / splits);
        };
        const ConcatView some = channels_of(bottom, b * block, channels);
        for (int p = 0, c = b * block; p < some.parts; c += some.part[p++].c) {
          sum_outer_products(some.part[p], top_diff, row(s), row(s + 1), IC,
                             to + static_cast<std::ptrdiff_t>(c) * top_diff.c,
                             c == 0 ? bias_sum(s) : nullptr);
        }
      }
    }
#pragma omp for schedule(static)
    for (std::ptrdiff_t i = 0; i < size; ++i) {
      float sum = accumulate ? weight_diff.data[i] : 0.0f;
      for (int s = 0; s < splits; ++s) sum += workspace[s * size + i];
      weight_diff.data[i] = sum;
    }
  }
  for (int oc = 0; oc < bias_diff.size; ++oc) {
    float sum = accumulate ? bias_diff.data[oc] : 0.0f;
    for (int s = 0; s < splits; ++s) sum += bias_sum(s)[oc];
    bias_diff.data[oc] = sum;
  }
}

std::ptrdiff_t workspace(const Context&, const Conv3x3Shape& s, Pass pass) {
  switch (pass) {
    case Pass::kForward:
      return packed_weights(s.ic, s.oc);
    case Pass::kBackwardData:
      return packed_weights(s.oc, s.ic) +
             static_cast<std::ptrdiff_t>(s.n) * (s.ih + 2) * (s.iw + 2) * s.oc;
    case Pass::kBackwardWeights:
      break;
  }
  return (static_cast<std::ptrdiff_t>(9) * s.ic + 2) * s.oc * weight_splits(s);
}

}  // namespace unet::cpu::UNET_ISA::direct
