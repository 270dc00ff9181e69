#include "image/warp.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/context.h"

namespace unet {
namespace {

constexpr std::ptrdiff_t kChunk = 4096;  // pixels per task

inline int mirror(int position, int size) {
  if (position >= 0 && position < size) return position;
  if (size == 1) return 0;
  const int period = 2 * (size - 1);
  position %= period;
  if (position < 0) position += period;
  return position < size ? position : period - position;
}

// std::floor is a library call where the compiler may not assume SSE4.1.
inline int floor_of(float x) {
  const int truncated = static_cast<int>(x);
  return truncated - (static_cast<float>(truncated) > x);
}

// One value for each tap of an axis.
template <int Count>
struct Vector {
  typedef float Type __attribute__((vector_size(Count * sizeof(float))));
};

template <int Count>
using Row = typename Vector<Count>::Type;

// Weights of the taps for a position t, 0 <= t < 1, behind tap number kBefore.
struct Linear {
  static constexpr int kTaps = 2, kBefore = 0;
  static Row<2> weights(float t) { return Row<2>{1 - t, t}; }
};

struct Cubic {  // Catmull-Rom, a polynomial for each tap
  static constexpr int kTaps = 4, kBefore = 1;
  static Row<4> weights(float t) {
    const Row<4> third = {-0.5f, 1.5f, -1.5f, 0.5f}, second = {1.0f, -2.5f, 2.0f, -0.5f};
    const Row<4> first = {-0.5f, 0.0f, 0.5f, 0.0f}, zeroth = {0.0f, 1.0f, 0.0f, 0.0f};
    return ((third * t + second) * t + first) * t + zeroth;
  }
};

// Separable interpolation. The rows of taps are summed first, as vectors: where all taps of a plane
// of one channel lie inside (nearly everywhere) a row is one load. Both ways sum in the same order.
template <class Kernel>
void sample(int threads, Plane<const float> image, const float* coordinates, std::ptrdiff_t count,
            float* out) {
  constexpr int kTaps = Kernel::kTaps;
  using Values = Row<kTaps>;
  const int C = image.c;
  const std::ptrdiff_t row_stride = static_cast<std::ptrdiff_t>(image.w) * C;
  const auto is_inside = [](int first, int size) { return first >= 0 && first + kTaps <= size; };
  const auto total = [](const Values& values) {
    float sum = 0;
    for (int k = 0; k < kTaps; ++k) sum += values[k];
    return sum;
  };
#pragma omp parallel for schedule(static) num_threads(usable_threads(threads))
  for (std::ptrdiff_t begin = 0; begin < count; begin += kChunk) {
    for (std::ptrdiff_t i = begin; i < std::min(count, begin + kChunk); ++i) {
      const float y = coordinates[2 * i], x = coordinates[2 * i + 1];
      const int y_floor = floor_of(y), x_floor = floor_of(x);
      const int y_first = y_floor - Kernel::kBefore, x_first = x_floor - Kernel::kBefore;
      const Values y_weights = Kernel::weights(y - static_cast<float>(y_floor));
      const Values x_weights = Kernel::weights(x - static_cast<float>(x_floor));
      if (C == 1 && is_inside(y_first, image.h) && is_inside(x_first, image.w)) {
        const float* row = image.data + y_first * row_stride + x_first;
        Values sum = {};
        for (int k = 0; k < kTaps; ++k, row += row_stride) {
          Values values;
          std::memcpy(&values, row, sizeof values);
          sum += y_weights[k] * values;
        }
        out[i] = total(x_weights * sum);
        continue;
      }
      std::ptrdiff_t x_at[kTaps];
      for (int k = 0; k < kTaps; ++k) {
        x_at[k] = static_cast<std::ptrdiff_t>(mirror(x_first + k, image.w)) * C;
      }
      for (int c = 0; c < C; ++c) {
        Values sum = {};
        for (int k = 0; k < kTaps; ++k) {
          const float* row = image.data + mirror(y_first + k, image.h) * row_stride + c;
          Values values;
          for (int j = 0; j < kTaps; ++j) values[j] = row[x_at[j]];
          sum += y_weights[k] * values;
        }
        out[i * C + c] = total(x_weights * sum);
      }
    }
  }
}

}  // namespace

void deformed_coordinates(int threads, const float* displacement, Taps rows, Taps columns,
                          const Affine& affine, float* coordinates) {
  const int H = rows.size, W = columns.size, nodes = columns.nodes;
  threads = usable_threads(threads);
  // The displacement nodes of one tile row, interpolated between the rows of nodes.
  std::vector<double> all_between(static_cast<std::size_t>(threads) * nodes * 2);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int y = 0; y < H; ++y) {
    double* between =
        all_between.data() + static_cast<std::ptrdiff_t>(omp_get_thread_num()) * nodes * 2;
    std::fill_n(between, nodes * 2, 0.0);
    for (int k = 0; k < 4; ++k) {
      const float* row =
          displacement + static_cast<std::ptrdiff_t>(rows.index[4 * y + k]) * nodes * 2;
      const double weight = rows.weight[4 * y + k];
      for (int i = 0; i < nodes * 2; ++i) between[i] += weight * row[i];
    }
    float* to = coordinates + static_cast<std::ptrdiff_t>(y) * W * 2;
    for (int x = 0; x < W; ++x) {
      double dy = 0, dx = 0;
      for (int k = 0; k < 4; ++k) {
        const double* node = between + 2 * columns.index[4 * x + k];
        dy += columns.weight[4 * x + k] * node[0];
        dx += columns.weight[4 * x + k] * node[1];
      }
      dy += y - affine.centre[0];
      dx += x - affine.centre[1];
      to[2 * x] =
          static_cast<float>(affine.matrix[0] * dy + affine.matrix[1] * dx + affine.offset[0]);
      to[2 * x + 1] =
          static_cast<float>(affine.matrix[2] * dy + affine.matrix[3] * dx + affine.offset[1]);
    }
  }
}

void sample_linear(int threads, Plane<const float> image, const float* coordinates,
                   std::ptrdiff_t count, float* out) {
  sample<Linear>(threads, image, coordinates, count, out);
}

void sample_cubic(int threads, Plane<const float> image, const float* coordinates,
                  std::ptrdiff_t count, float* out) {
  sample<Cubic>(threads, image, coordinates, count, out);
}

template <class T>
void sample_nearest(int threads, Plane<const T> image, const float* coordinates,
                    std::ptrdiff_t count, T* out) {
#pragma omp parallel for schedule(static) num_threads(usable_threads(threads))
  for (std::ptrdiff_t begin = 0; begin < count; begin += kChunk) {
    for (std::ptrdiff_t i = begin; i < std::min(count, begin + kChunk); ++i) {
      const int y = floor_of(coordinates[2 * i] + 0.5f);
      const int x = floor_of(coordinates[2 * i + 1] + 0.5f);
      out[i] = image.row(mirror(y, image.h))[mirror(x, image.w)];
    }
  }
}

template void sample_nearest(int, Plane<const std::uint8_t>, const float*, std::ptrdiff_t,
                             std::uint8_t*);
template void sample_nearest(int, Plane<const std::int32_t>, const float*, std::ptrdiff_t,
                             std::int32_t*);

void apply_curves(int threads, float* values, std::ptrdiff_t count, int channels,
                  const float* curve, int knots, const float* low, const float* high) {
#pragma omp parallel for schedule(static) num_threads(usable_threads(threads))
  for (std::ptrdiff_t begin = 0; begin < count; begin += kChunk) {
    const std::ptrdiff_t end = std::min(count, begin + kChunk);
    for (int c = 0; c < channels; ++c) {
      const float* knot = curve + static_cast<std::ptrdiff_t>(c) * knots;
      const float scale = static_cast<float>(knots - 1) / (high[c] - low[c]);
      for (std::ptrdiff_t i = begin; i < end; ++i) {
        float& value = values[i * channels + c];
        const float position = (value - low[c]) * scale;
        const int k = static_cast<int>(std::min(std::max(position, 0.0f), knots - 2.0f));
        value = knot[k] + (position - static_cast<float>(k)) * (knot[k + 1] - knot[k]);
      }
    }
  }
}

}  // namespace unet
