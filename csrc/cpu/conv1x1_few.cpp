// conv1x1 to few output channels on the CPU: vectors run over the input channels, where the many
// are. The weights are transposed to [OC][IC] first. Bound by memory: one pass over the bottom.
//
//   forward            top[oc] = bias[oc] + dot(weight[oc][:], bottom[:])
//   backward_data      bottom_diff[:] = sum_oc top_diff[oc] * weight[oc][:]
//   backward_weights   weight_diff[oc][:] += top_diff[oc] * bottom[:], in partial sums whose number
//                      depends on the shape alone
#include "cpu/conv1x1_few.h"

#include <string.h>

#include "cpu/parallel.h"
#include "cpu/simd.h"
#include "cpu/stream.h"

namespace unet::cpu::UNET_ISA::few {
namespace {

constexpr int kMaxSplits = 64;                       // of the rows in backward_weights
constexpr std::ptrdiff_t kSplitFloats = 1024 << 10;  // budget for all partial sums, 4 MB
constexpr int kGroup = 4;                            // output channels, or vectors, at a time

void transpose(ConstFilter weight, float* to) {
  for (int ic = 0; ic < weight.ic; ++ic) {
    for (int oc = 0; oc < weight.oc; ++oc) {
      to[static_cast<std::ptrdiff_t>(oc) * weight.ic + ic] = weight.data[ic * weight.oc + oc];
    }
  }
}

template <int L>
struct Lanes {
  typedef float type __attribute__((vector_size(4 * L)));
};

// The sum of L lanes, by halves.
template <int L>
[[gnu::always_inline]] inline float sum_lanes(typename Lanes<L>::type v) {
  if constexpr (L == 2) {
    return v[0] + v[1];
  } else {
    typename Lanes<L / 2>::type low, high;
    memcpy(&low, &v, sizeof(low));
    memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof(low), sizeof(high));
    return sum_lanes<L / 2>(low + high);
  }
}

// to[G] = dots of one pixel with G rows of the weights.
template <int G>
[[gnu::always_inline]] inline void dots(int IC, const float* pixel, const float* weight,
                                        float* to) {
  vfloat acc[G] = {};
  int ic = 0;
  for (; ic + kLanes <= IC; ic += kLanes) {
    const vfloat x = load(pixel + ic);
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) acc[g] += x * load(weight + g * IC + ic);
  }
#pragma GCC unroll 4
  for (int g = 0; g < G; ++g) to[g] = sum_lanes<kLanes>(acc[g]);
  for (; ic < IC; ++ic) {
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) to[g] += pixel[ic] * weight[g * IC + ic];
  }
}

int splits_of(const Conv1x1Shape& s) {
  const std::ptrdiff_t fit = kSplitFloats / (static_cast<std::ptrdiff_t>(s.ic) * s.oc);
  return static_cast<int>(
      min<std::ptrdiff_t>(max<std::ptrdiff_t>(1, min<std::ptrdiff_t>(fit, kMaxSplits)),
                          static_cast<std::ptrdiff_t>(s.n) * s.h));
}

// sum[V * kLanes] += the products of one channel of top_diff with V vectors of the bottom, over a
// row.
template <int V>
[[gnu::always_inline]] inline void add_row(ConstView bottom, ConstView top_diff, int n, int h,
                                           int ic, int oc, float* sum) {
  const float* x = bottom.pixel(n, h, 0) + ic;
  const float* diff = top_diff.pixel(n, h, 0) + oc;
  vfloat acc[V] = {};
  for (int w = 0; w < bottom.w; ++w, x += bottom.pixel_stride, diff += top_diff.pixel_stride) {
    const vfloat d = splat(*diff);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[v] += d * load(x + v * kLanes);
  }
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) store(sum + v * kLanes, load(sum + v * kLanes) + acc[v]);
}

void add_row_outer(ConstView bottom, ConstView top_diff, int n, int h, float* sum) {
  const int IC = bottom.c;
  for (int oc = 0; oc < top_diff.c; ++oc, sum += IC) {
    int ic = 0;
    for (; ic + kGroup * kLanes <= IC; ic += kGroup * kLanes) {
      add_row<kGroup>(bottom, top_diff, n, h, ic, oc, sum + ic);
    }
    for (; ic + kLanes <= IC; ic += kLanes) {
      add_row<1>(bottom, top_diff, n, h, ic, oc, sum + ic);
    }
    for (; ic < IC; ++ic) {
      float acc = 0.0f;
      for (int w = 0; w < bottom.w; ++w) {
        acc += bottom.pixel(n, h, w)[ic] * top_diff.pixel(n, h, w)[oc];
      }
      sum[ic] += acc;
    }
  }
}

// One row of bottom_diff; weight [OC][IC].
template <bool kStreamed>
void backward_row(ConstView top_diff, const float* weight, const ReluOfBottom& relu, int n, int h,
                  View bottom_diff) {
  const int IC = bottom_diff.c, OC = top_diff.c;
  for (int w = 0; w < top_diff.w; ++w) {
    const float* diff = top_diff.pixel(n, h, w);
    const float* sign = relu.on() ? relu.bottom.pixel(n, h, w) : nullptr;
    float* to = bottom_diff.pixel(n, h, w);
    int ic = 0;
    for (; ic + kLanes <= IC; ic += kLanes) {
      vfloat acc = splat(diff[0]) * load(weight + ic);
      for (int oc = 1; oc < OC; ++oc) acc += splat(diff[oc]) * load(weight + oc * IC + ic);
      if (sign != nullptr) acc = load(sign + ic) > 0.0f ? acc : acc * relu.negative_slope;
      store_or_stream<kStreamed>(to + ic, acc);
    }
    for (; ic < IC; ++ic) {
      float acc = diff[0] * weight[ic];
      for (int oc = 1; oc < OC; ++oc) acc += diff[oc] * weight[oc * IC + ic];
      if (sign != nullptr && !(sign[ic] > 0.0f)) acc *= relu.negative_slope;
      to[ic] = acc;
    }
  }
  if constexpr (kStreamed) finish_streaming();
}

}  // namespace

void forward(const Context& ctx, ConstView bottom, ConstFilter weight, ConstSpan bias,
             FusedRelu relu, float* workspace, View top) {
  const int IC = bottom.c, OC = top.c;
  transpose(weight, workspace);
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, bottom.count()))
  for (int row = 0; row < top.n * top.h; ++row) {
    const int n = row / top.h, h = row % top.h;
    for (int w = 0; w < top.w; ++w) {
      const float* from = bottom.pixel(n, h, w);
      float* to = top.pixel(n, h, w);
      int oc = 0;
      for (; oc + kGroup <= OC; oc += kGroup) dots<kGroup>(IC, from, workspace + oc * IC, to + oc);
      for (; oc + 2 <= OC; oc += 2) dots<2>(IC, from, workspace + oc * IC, to + oc);
      for (; oc < OC; ++oc) dots<1>(IC, from, workspace + oc * IC, to + oc);
      for (oc = 0; oc < OC; ++oc) {
        if (bias.data != nullptr) to[oc] += bias.data[oc];
        if (relu.on && !(to[oc] > 0.0f)) to[oc] *= relu.negative_slope;
      }
    }
  }
}

void backward_data(const Context& ctx, ConstView top_diff, ConstFilter weight,
                   const ReluOfBottom& relu, float* workspace, View bottom_diff) {
  transpose(weight, workspace);
  const auto row_of = worth_streaming(bottom_diff) ? backward_row<true> : backward_row<false>;
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, bottom_diff.count()))
  for (int row = 0; row < top_diff.n * top_diff.h; ++row) {
    row_of(top_diff, workspace, relu, row / top_diff.h, row % top_diff.h, bottom_diff);
  }
}

void backward_weights(const Context& ctx, ConstView bottom, ConstView top_diff, bool accumulate,
                      float* workspace, Filter weight_diff) {
  const int IC = bottom.c, OC = top_diff.c, rows = bottom.n * bottom.h;
  const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(IC) * OC;
  const int splits = splits_of({bottom.n, IC, bottom.h, bottom.w, OC});
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads_for(ctx, bottom.count()))
  for (int split = 0; split < splits; ++split) {
    float* sum = workspace + split * size;
    for (std::ptrdiff_t i = 0; i < size; ++i) sum[i] = 0.0f;
    const auto row_of = [&](int i) {
      return static_cast<int>(static_cast<std::ptrdiff_t>(rows) * i / splits);
    };
    for (int row = row_of(split); row < row_of(split + 1); ++row) {
      add_row_outer(bottom, top_diff, row / bottom.h, row % bottom.h, sum);
    }
  }
  for (int ic = 0; ic < IC; ++ic) {
    for (int oc = 0; oc < OC; ++oc) {
      float* to = weight_diff.data + static_cast<std::ptrdiff_t>(ic) * OC + oc;
      float sum = accumulate ? *to : 0.0f;
      for (int split = 0; split < splits; ++split) {
        sum += workspace[split * size + static_cast<std::ptrdiff_t>(oc) * IC + ic];
      }
      *to = sum;
    }
  }
}

std::ptrdiff_t workspace(const Conv1x1Shape& shape, Pass pass) {
  const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(shape.ic) * shape.oc;
  return pass == Pass::kBackwardWeights ? size * splits_of(shape) : size;
}

}  // namespace unet::cpu::UNET_ISA::few
