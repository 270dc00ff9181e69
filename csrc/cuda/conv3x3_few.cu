// conv3x3 with one to four input channels: both passes touch the wide blob once, in whole sectors,
// and are bound by that; a matrix product, whose common dimension is filled up to 8 channels for
// each tap, would compute 2 to 8 times as much.
//
//   thread   4 output channels x kRun = 8 neighbouring pixels of a row
//   block    256 threads: kLanes (16 or 4) side by side in the channels, the others over a tile
//
//                 16 columns
//            +--------+--------+                kRows = 8 or 32 rows of pixels; bottom under them,
//     kRows  | thread | thread | x 4*kLanes     with a border of 2, lies in shared memory, channel
//            +--------+--------+   channels     by channel, so that neighbouring pixels come as
//            |  ...   |  ...   |                float4
//
//   forward            the filter lies in shared memory too. Of it a thread reads a float4 for each
//                      tap of a channel, of bottom three for the taps of a row: 96 multiply-adds
//                      on 6 loads
//   backward_weights   a block goes through every splits-th tile for one input channel. A thread
//                      keeps the sums of 9 taps x 4 channels in registers, and of the bias; they
//                      are added over the block through shared memory, over the splits by
//                      add_splits. The blocks of a tile's input channels run side by side and share
//                      what they read in the level 2 cache
//
// Cost: 4*OC bytes a pixel of top, 4*IC a pixel of bottom; 2*9*IC*OC operations a pixel.
#include "cuda/check.h"
#include "cuda/conv3x3_few.h"
#include "cuda/gemm.h"
#include "cuda/reduce.h"

namespace unet::UNET_GPU::conv3x3_few {
namespace {

constexpr int kThreads = 256, kRun = 8, kColumns = 2 * kRun;
constexpr int kPitch = 20;  // of a row of bottom in shared memory: 18 floats in whole float4s
constexpr int kMostInputs = 4, kTaps = 9;

template <int kLanes>
struct Tile {
  static constexpr int kWidth = 4 * kLanes;  // output channels
  static constexpr int kGroups = kThreads / kLanes, kRows = kGroups / 2;

  using Rows = float[kRows + 2][kPitch];
  struct Forward {
    Rows bottom[kMostInputs];
    float weight[kTaps * kMostInputs][kWidth];
  };
  struct Backward {
    Rows bottom;
    float sum[kGroups][kWidth];
  };
};

// The output channels of a lane: four in a row where memory allows for float4, else one of each
// kLanes, so that neighbouring lanes still meet neighbouring channels.
struct Channels {
  int first, step;

  template <int kLanes>
  __device__ __forceinline__ static Channels of(int lane, bool quads) {
    return quads ? Channels{4 * lane, 1} : Channels{lane, kLanes};
  }
  __device__ __forceinline__ int operator[](int i) const { return first + i * step; }
};

// Where the tiles of the top lie.
struct TileGrid {
  int across, down, count;

  TileGrid(int n, int h, int w, int rows)
      : across((w + kColumns - 1) / kColumns),
        down((h + rows - 1) / rows),
        count(n * down * across) {}
};

struct TilePlace {
  int n, h, w;

  __device__ __forceinline__ TilePlace(const TileGrid& grid, int index, int rows) {
    const int row = index / grid.across;
    n = row / grid.down;
    h = (row - n * grid.down) * rows;
    w = (index - row * grid.across) * kColumns;
  }
};

// A channel of bottom under a tile, zeros outside the image.
template <int kRows>
__device__ __forceinline__ void load_bottom(ConstView bottom, int channel, const TilePlace& at,
                                            float (&to)[kRows][kPitch]) {
  for (int i = threadIdx.x; i < kRows * kPitch; i += kThreads) {
    const int h = i / kPitch, w = i - h * kPitch;
    const bool exists = at.h + h < bottom.h && at.w + w < bottom.w && w < kColumns + 2;
    to[h][w] = exists ? bottom.pixel(at.n, at.h + h, at.w + w)[channel] : 0.0f;
  }
}

// The kRun + 2 floats of a row that a run's windows see, and two more.
__device__ __forceinline__ void load_row(const float* row, float (&to)[kRun + 4]) {
  spread(load4(row), to);
  spread(load4(row + 4), to + 4);
  spread(load4(row + 8), to + 8);
}

// --- forward ---

template <int kLanes>
__global__ void __launch_bounds__(kThreads)
    direct_sums(TileGrid grid, ConstView bottom, ConstFilter weight, ConstSpan bias, FusedRelu relu,
                bool quads, View top) {
  using T = Tile<kLanes>;
  auto& shared = shared_memory<typename T::Forward>();
  const int thread = threadIdx.x, lane = thread % kLanes, group = thread / kLanes;
  const int first_channel = blockIdx.y * T::kWidth;
  const TilePlace at(grid, blockIdx.x, T::kRows);
  for (int ic = 0; ic < bottom.c; ++ic) load_bottom(bottom, ic, at, shared.bottom[ic]);
  for (int i = thread; i < kTaps * bottom.c * T::kWidth; i += kThreads) {
    const int row = i / T::kWidth, tap = row / bottom.c, ic = row - tap * bottom.c;
    const int place = i - row * T::kWidth;
    const int oc = first_channel + Channels::of<kLanes>(place / 4, quads)[place % 4];
    shared.weight[row][place] =
        oc < weight.oc ? weight.tap(tap / 3, tap % 3)[ic * weight.oc + oc] : 0.0f;
  }
  __syncthreads();

  const int row = group / 2, column = group % 2 * kRun;
  float sum[kRun][4] = {};
  for (int kh = 0; kh < 3; ++kh) {
    for (int ic = 0; ic < bottom.c; ++ic) {
      float x[kRun + 4];
      load_row(&shared.bottom[ic][row + kh][column], x);
#pragma unroll
      for (int kw = 0; kw < 3; ++kw) {
        float f[4];
        spread(load4(&shared.weight[(3 * kh + kw) * bottom.c + ic][4 * lane]), f);
#pragma unroll
        for (int i = 0; i < kRun; ++i) {
#pragma unroll
          for (int c = 0; c < 4; ++c) sum[i][c] += x[i + kw] * f[c];
        }
      }
    }
  }

  const Channels channels = Channels::of<kLanes>(lane, quads);
  float addend[4];
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    const int oc = first_channel + channels[c];
    addend[c] = bias.data != nullptr && oc < top.c ? bias.data[oc] : 0.0f;
  }
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    if (at.h + row >= top.h || at.w + column + i >= top.w) continue;
    float* const p = top.pixel(at.n, at.h + row, at.w + column + i) + first_channel;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      sum[i][c] += addend[c];
      if (relu.on && !(sum[i][c] > 0.0f)) sum[i][c] *= relu.negative_slope;
    }
    if (quads) {
      if (first_channel + channels[0] < top.c) {
        store4(p + channels[0], make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]));
      }
      continue;
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      if (first_channel + channels[c] < top.c) p[channels[c]] = sum[i][c];
    }
  }
}

// --- backward_weights ---

// The four channels of top_diff for each pixel of a run, zeros outside the image.
__device__ __forceinline__ void load_run(ConstView top_diff, const TilePlace& at, int row,
                                         int column, int first_channel, const Channels& channels,
                                         bool quads, float (&to)[kRun][4]) {
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    const bool exists = at.h + row < top_diff.h && at.w + column + i < top_diff.w;
    const float* const p =
        (exists ? top_diff.pixel(at.n, at.h + row, at.w + column + i) : top_diff.data) +
        first_channel;
    if (quads) {
      const int left = exists ? top_diff.c - first_channel - channels[0] : 0;
      spread(load_quad<true>(p + channels[0], left), to[i]);
      continue;
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      to[i][c] = exists && first_channel + channels[c] < top_diff.c ? p[channels[c]] : 0.0f;
    }
  }
}

// weight_diff of one input channel and kWidth outputs, over a split of the tiles, into
// partial[split][tap][IC][OC]; with the first input channel also bias_diff, into
// partial_bias[split][OC].
template <int kLanes>
__global__ void __launch_bounds__(kThreads)
    direct_products(TileGrid grid, ConstView bottom, ConstView top_diff, bool quads, float* partial,
                    float* partial_bias) {
  using T = Tile<kLanes>;
  auto& shared = shared_memory<typename T::Backward>();
  const int thread = threadIdx.x, lane = thread % kLanes, group = thread / kLanes;
  const int ic = blockIdx.x, first_channel = blockIdx.y * T::kWidth;
  const int row = group / 2, column = group % 2 * kRun;
  const Channels channels = Channels::of<kLanes>(lane, quads);
  float sum[kTaps + 1][4] = {};  // and of the bias
  for (int index = blockIdx.z; index < grid.count; index += gridDim.z) {
    const TilePlace at(grid, index, T::kRows);
    load_bottom(bottom, ic, at, shared.bottom);
    __syncthreads();
    float diff[kRun][4];
    load_run(top_diff, at, row, column, first_channel, channels, quads, diff);
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) sum[kTaps][c] += diff[i][c];
    }
#pragma unroll
    for (int kh = 0; kh < 3; ++kh) {
      float x[kRun + 4];
      load_row(&shared.bottom[row + kh][column], x);
#pragma unroll
      for (int kw = 0; kw < 3; ++kw) {
#pragma unroll
        for (int i = 0; i < kRun; ++i) {
#pragma unroll
          for (int c = 0; c < 4; ++c) sum[3 * kh + kw][c] += x[i + kw] * diff[i][c];
        }
      }
    }
    __syncthreads();
  }

  const std::ptrdiff_t IC = bottom.c, OC = top_diff.c, split = blockIdx.z;
#pragma unroll
  for (int tap = 0; tap <= kTaps; ++tap) {
    store4(&shared.sum[group][4 * lane],
           make_float4(sum[tap][0], sum[tap][1], sum[tap][2], sum[tap][3]));
    __syncthreads();
    if (thread < T::kWidth) {
      const int oc = first_channel + Channels::of<kLanes>(thread / 4, quads)[thread % 4];
      float total = 0;
      for (int g = 0; g < T::kGroups; ++g) total += shared.sum[g][thread];
      if (oc < OC && tap < kTaps) partial[((split * kTaps + tap) * IC + ic) * OC + oc] = total;
      if (oc < OC && tap == kTaps && ic == 0) partial_bias[split * OC + oc] = total;
    }
    __syncthreads();
  }
}

bool takes_four_lanes(int OC) { return OC <= Tile<4>::kWidth; }

// Splits of the tiles: as many as fill a device.
template <int kLanes>
int splits_of(const Conv3x3Shape& shape) {
  using T = Tile<kLanes>;
  const int tiles = TileGrid(shape.n, shape.ih - 2, shape.iw - 2, T::kRows).count;
  const int blocks = shape.ic * int(blocks_for(shape.oc, T::kWidth));
  const int wanted = (kFillingBlocks + blocks - 1) / blocks;
  return tiles < wanted ? tiles : wanted;
}

template <int kLanes>
void forward_on(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
                FusedRelu relu, View top) {
  using T = Tile<kLanes>;
  const TileGrid grid(top.n, top.h, top.w, T::kRows);
  UNET_CUDA(launch("conv3x3_forward", direct_sums<kLanes>,
                   dim3(unsigned(grid.count), blocks_for(top.c, T::kWidth)), kThreads,
                   sizeof(typename T::Forward), stream_of(ctx), grid, bottom, weight, bias, relu,
                   has_quads(top), top));
}

template <int kLanes>
void backward_weights_on(const Context& ctx, ConstView bottom, ConstView top_diff, bool accumulate,
                         float* partial, Filter weight_diff, Span bias_diff) {
  using T = Tile<kLanes>;
  const int splits = splits_of<kLanes>({bottom.n, bottom.c, bottom.h, bottom.w, top_diff.c});
  const std::ptrdiff_t size = std::ptrdiff_t(kTaps) * bottom.c * top_diff.c;
  float* const partial_bias = partial + splits * size;
  const TileGrid grid(top_diff.n, top_diff.h, top_diff.w, T::kRows);
  UNET_CUDA(launch("conv3x3_backward_weights", direct_products<kLanes>,
                   dim3(unsigned(bottom.c), blocks_for(top_diff.c, T::kWidth), unsigned(splits)),
                   kThreads, sizeof(typename T::Backward), stream_of(ctx), grid, bottom, top_diff,
                   has_quads(top_diff), partial, partial_bias));
  launch_add_splits(ctx, size, partial, splits, accumulate, weight_diff.data);
  if (bias_diff.data != nullptr) {
    launch_add_splits(ctx, top_diff.c, partial_bias, splits, accumulate, bias_diff.data);
  }
}

}  // namespace

void forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
             FusedRelu relu, View top) {
  const auto run = takes_four_lanes(top.c) ? forward_on<4> : forward_on<16>;
  run(ctx, bottom, weight, bias, relu, top);
}

void backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff, bool accumulate,
                      float* partial, Filter weight_diff, Span bias_diff) {
  const auto run = takes_four_lanes(top_diff.c) ? backward_weights_on<4> : backward_weights_on<16>;
  run(ctx, bottom, top_diff, accumulate, partial, weight_diff, bias_diff);
}

std::ptrdiff_t workspace(const Conv3x3Shape& shape) {
  const int splits = takes_four_lanes(shape.oc) ? splits_of<4>(shape) : splits_of<16>(shape);
  return std::ptrdiff_t(splits) * (kTaps * shape.ic + 1) * shape.oc;
}

}  // namespace unet::UNET_GPU::conv3x3_few
