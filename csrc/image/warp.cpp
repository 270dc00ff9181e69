#include "image/warp.h"

#include <omp.h>

#include <algorithm>
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

void linear_weights(float t, float (&weight)[2]) {
  weight[0] = 1 - t;
  weight[1] = t;
}

void cubic_weights(float t, float (&weight)[4]) {
  weight[0] = ((-0.5f * t + 1.0f) * t - 0.5f) * t;
  weight[1] = (1.5f * t - 2.5f) * t * t + 1.0f;
  weight[2] = ((-1.5f * t + 2.0f) * t + 0.5f) * t;
  weight[3] = (0.5f * t - 0.5f) * t * t;
}

// Separable interpolation with `Count` taps per axis, the first at floor(coordinate) - Before.
template <int Count, int Before, class Weights>
void sample(int threads, Plane<const float> image, const float* coordinates, std::ptrdiff_t count,
            float* out, Weights weights) {
  const int C = image.c;
  const std::ptrdiff_t row_stride = static_cast<std::ptrdiff_t>(image.w) * C;
#pragma omp parallel for schedule(static) num_threads(usable_threads(threads))
  for (std::ptrdiff_t begin = 0; begin < count; begin += kChunk) {
    for (std::ptrdiff_t i = begin; i < std::min(count, begin + kChunk); ++i) {
      const float y = coordinates[2 * i], x = coordinates[2 * i + 1];
      const int y_floor = floor_of(y), x_floor = floor_of(x);
      float y_weight[Count], x_weight[Count];
      weights(y - static_cast<float>(y_floor), y_weight);
      weights(x - static_cast<float>(x_floor), x_weight);
      std::ptrdiff_t y_at[Count], x_at[Count];
      for (int k = 0; k < Count; ++k) {
        y_at[k] = static_cast<std::ptrdiff_t>(mirror(y_floor - Before + k, image.h)) * row_stride;
        x_at[k] = static_cast<std::ptrdiff_t>(mirror(x_floor - Before + k, image.w)) * C;
      }
      for (int c = 0; c < C; ++c) {
        float sum = 0;
        for (int ky = 0; ky < Count; ++ky) {
          const float* row = image.data + y_at[ky] + c;
          float row_sum = 0;
          for (int kx = 0; kx < Count; ++kx) row_sum += x_weight[kx] * row[x_at[kx]];
          sum += y_weight[ky] * row_sum;
        }
        out[i * C + c] = sum;
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
  sample<2, 0>(threads, image, coordinates, count, out, linear_weights);
}

void sample_cubic(int threads, Plane<const float> image, const float* coordinates,
                  std::ptrdiff_t count, float* out) {
  sample<4, 1>(threads, image, coordinates, count, out, cubic_weights);
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
