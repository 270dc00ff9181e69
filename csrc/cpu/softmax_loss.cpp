// softmax_loss on the CPU. A first pass over labels and weights checks the labels and finds Z; a
// second one, over blocks of kLanes pixels, gives -log p of each pixel and the gradient. Each row
// leaves its sums in the workspace, so the result does not depend on which thread took it.
#include "ops/softmax_loss.h"

#include <float.h>

#include "cpu/parallel.h"
#include "cpu/pixels.h"

namespace unet::cpu::UNET_ISA {
namespace {

constexpr int kFewClasses = 4;

// The workspace is an array of float32 and need not be aligned for more.
typedef double loose_double __attribute__((aligned(4), may_alias));

struct RowSums {
  loose_double valid;      // pixels not ignored, then (second pass) the row's weighted loss
  loose_double weight;     // their weights
  loose_double bad_label;  // first column whose label is none, or -1
};

// Sums of the lanes, in their order.
typedef double vdouble __attribute__((vector_size(8 * kLanes)));
double sum_of_lanes(vdouble lanes) {
  double sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += lanes[i];
  return sum;
}

// Which of the first `count` lanes are labels of pixels that count: all ones there.
[[gnu::always_inline]] inline vint counted(const SoftmaxLossSetting& setting, vfloat label,
                                           int count) {
  vint lane{};
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  const vint inside = lane < count;
  if (!setting.has_ignore_label) return inside;
  return inside & (label != static_cast<float>(setting.ignore_label));
}

// The weights of `count` pixels from w on, those of one row of a blob that may be absent.
[[gnu::always_inline]] inline vfloat weights_of(ConstView weight, int n, int h, int w, int count) {
  if (weight.data == nullptr) return splat(1.0f);
  return gather(weight.pixel(n, h, w), weight.pixel_stride, count);
}

void sum_row(const SoftmaxLossSetting& setting, int classes, ConstView label, ConstView weight,
             int n, int h, RowSums* sums) {
  vdouble total{};
  vint valid{}, any_bad{};
  for (int w = 0; w < label.w; w += kLanes) {
    const int count = min(kLanes, label.w - w);
    const vfloat l = gather(label.pixel(n, h, w), label.pixel_stride, count);
    const vint counts = counted(setting, l, count);
    const vfloat whole = __builtin_convertvector(__builtin_convertvector(l, vint), vfloat);
    any_bad |= counts & ~((l >= 0.0f) & (l < static_cast<float>(classes)) & (l == whole));
    valid -= counts;
    const vfloat factor = counts ? weights_of(weight, n, h, w, count) : vfloat{};
    total += __builtin_convertvector(factor, vdouble);
  }
  sums->valid = 0;
  sums->bad_label = -1;
  bool bad = false;
  for (int i = 0; i < kLanes; ++i) {
    sums->valid += valid[i];
    bad = bad || any_bad[i] != 0;
  }
  sums->weight = weight.data ? sum_of_lanes(total) : static_cast<double>(sums->valid);
  for (int w = 0; bad && w < label.w; ++w) {
    const float l = *label.pixel(n, h, w);
    if (is_ignored(setting, l) || is_class(l, classes)) continue;
    sums->bad_label = w;
    break;
  }
}

// Blob pointers of a block of pixels; null where an output is not wanted.
struct Block {
  const float* score;
  float *diff, *prob;
};

// Writes the outputs of `count` <= kLanes pixels; returns their weighted losses or, without
// weights, leaves each in `nll`.
[[gnu::always_inline]] inline vdouble loss_of_block(const Block& at,
                                                    const SoftmaxLossSetting& setting,
                                                    ConstView score, ConstView label,
                                                    ConstView weight, View diff, View prob, int n,
                                                    int h, int w, int count, float scale,
                                                    float* nll) {
  const int C = score.c;
  vfloat l = gather(label.pixel(n, h, w), label.pixel_stride, count);
  const vint counts = counted(setting, l, count);
  l = counts ? l : splat(-1.0f);
  const vfloat factor = counts ? weights_of(weight, n, h, w, count) : vfloat{};

  vfloat maximum = gather(at.score, score.pixel_stride, count);
  for (int c = 1; c < C; ++c) {
    const vfloat x = gather(at.score + c, score.pixel_stride, count);
    maximum = x > maximum ? x : maximum;
  }
  // The exponentials of few classes wait here, of many in whichever output is wanted.
  vfloat exponentials[kFewClasses];
  const bool few = C <= kFewClasses;
  float* const kept = at.prob ? at.prob : at.diff;
  const std::ptrdiff_t kept_stride = at.prob ? prob.pixel_stride : diff.pixel_stride;
  vfloat sum{}, x_label{};
  for (int c = 0; c < C; ++c) {
    const vfloat x = gather(at.score + c, score.pixel_stride, count) - maximum;
    const vfloat e = exp_nonpositive(x);
    sum += e;
    x_label = l == splat(static_cast<float>(c)) ? x : x_label;
    if (few) {
      exponentials[c] = e;
    } else if (kept) {
      scatter(kept + c, kept_stride, count, e);
    }
  }

  vdouble loss{};
  if (weight.data) {
    const vfloat minus_log = counts ? log_positive(sum) - x_label : vfloat{};
    loss = __builtin_convertvector(factor, vdouble) * __builtin_convertvector(minus_log, vdouble);
  } else {
    const vfloat p = exp_nonpositive(x_label) / sum;
    const vfloat log = log_positive(p < FLT_MIN ? splat(FLT_MIN) : p);  // NaN stays NaN
    scatter(nll, 1, count, counts ? -log : vfloat{});
  }

  if (!kept) return loss;
  const vfloat slope = factor * scale;
  for (int c = 0; c < C; ++c) {
    const vfloat p = (few ? exponentials[c] : gather(kept + c, kept_stride, count)) / sum;
    if (at.prob) scatter(at.prob + c, prob.pixel_stride, count, p);
    if (at.diff) {
      const vfloat onehot = l == splat(static_cast<float>(c)) ? splat(1.0f) : vfloat{};
      const vfloat d = l >= 0.0f ? slope * (p - onehot) : vfloat{};
      scatter(at.diff + c, diff.pixel_stride, count, d);
    }
  }
  return loss;
}

}  // namespace

SoftmaxLoss softmax_loss(const Context& ctx, SoftmaxLossSetting setting, ConstView score,
                         ConstView label, ConstView weight, ConstSpan, Span workspace, Span,
                         View bottom_diff, View prob) {
  const int H = score.h, W = score.w, rows = score.n * H;
  RowSums* const sums = reinterpret_cast<RowSums*>(workspace.data);
  float* const nll = workspace.data + rows * (sizeof(RowSums) / sizeof(float));

#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, score.count()))
  for (int row = 0; row < rows; ++row) {
    sum_row(setting, score.c, label, weight, row / H, row % H, &sums[row]);
  }
  double valid = 0, weights = 0;
  for (int row = 0; row < rows; ++row) {
    if (sums[row].bad_label >= 0) {
      const int column = static_cast<int>(sums[row].bad_label);
      return {0, static_cast<std::ptrdiff_t>(row) * W + column,
              *label.pixel(row / H, row % H, column)};
    }
    valid += sums[row].valid;
    weights += sums[row].weight;
  }
  const double z =
      normalizer(setting.normalization, score.n, static_cast<double>(rows) * W, valid, weights);
  const float scale = z == 0 ? 0.0f : static_cast<float>(setting.loss_weight / z);

#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, score.count()))
  for (int row = 0; row < rows; ++row) {
    const int n = row / H, h = row % H;
    vdouble loss{};
    for (int w = 0; w < W; w += kLanes) {
      const Block at{score.pixel(n, h, w), bottom_diff.data ? bottom_diff.pixel(n, h, w) : nullptr,
                     prob.data ? prob.pixel(n, h, w) : nullptr};
      loss +=
          loss_of_block(at, setting, score, label, weight, bottom_diff, prob, n, h, w,
                        min(kLanes, W - w), scale, nll + static_cast<std::ptrdiff_t>(row) * W + w);
    }
    sums[row].valid = sum_of_lanes(loss);
  }
  if (weight.data == nullptr) {
    float loss = 0;
    for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(rows) * W; ++i) loss += nll[i];
    return {z == 0 ? 0 : loss / static_cast<float>(z)};
  }
  double loss = 0;
  for (int row = 0; row < rows; ++row) loss += sums[row].valid;
  return {z == 0 ? 0 : loss / z};
}

std::ptrdiff_t softmax_loss_workspace(const Context&, int N, int H, int W) {
  return std::ptrdiff_t{N} * H * (6 + W);  // three doubles a row, and each pixel's -log p
}

}  // namespace unet::cpu::UNET_ISA
