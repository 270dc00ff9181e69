#include "image/border_distance.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/error.h"

namespace unet {
namespace {

constexpr int kBandRows = 32;
constexpr std::int64_t kFar = std::numeric_limits<std::int64_t>::max() / 4;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The two nearest distinct instances, by squared distance. 0 = none.
struct Nearest {
  std::int32_t first = 0, second = 0;
  std::int64_t first_square = kFar, second_square = kFar;

  void offer(std::int32_t instance, std::int64_t square) {
    if (square < first_square) {
      if (instance != first) {
        second = first;
        second_square = first_square;
      }
      first = instance;
      first_square = square;
    } else if (instance != first && square < second_square) {
      second = instance;
      second_square = square;
    }
  }
};

// The last rows on which a sweep along a column met its two latest instances.
struct Sweep {
  std::int32_t latest = 0, earlier = 0;
  int latest_row = 0, earlier_row = 0;

  void meet(std::int32_t instance, int row) {
    if (instance == 0) return;
    if (instance != latest) {
      earlier = latest;
      earlier_row = latest_row;
      latest = instance;
    }
    latest_row = row;
  }
  void offer_to(Nearest& nearest, int row) const {
    if (latest != 0) nearest.offer(latest, square(row - latest_row));
    if (earlier != 0) nearest.offer(earlier, square(row - earlier_row));
  }
  static std::int64_t square(std::int64_t rows) { return rows * rows; }
};

// in_column[y - begin][x] = the two instances nearest to (y, x) within column x.
void nearest_in_columns(Plane<const std::int32_t> instances, int begin, int end, int reach,
                        Nearest* in_column, Sweep* sweeps) {
  const int W = instances.w;
  std::fill_n(in_column, static_cast<std::ptrdiff_t>(end - begin) * W, Nearest{});
  std::fill_n(sweeps, W, Sweep{});
  for (int y = std::max(0, begin - reach); y < end; ++y) {
    const std::int32_t* row = instances.row(y);
    for (int x = 0; x < W; ++x) sweeps[x].meet(row[x], y);
    if (y < begin) continue;
    Nearest* nearest = in_column + static_cast<std::ptrdiff_t>(y - begin) * W;
    for (int x = 0; x < W; ++x) sweeps[x].offer_to(nearest[x], y);
  }
  std::fill_n(sweeps, W, Sweep{});
  for (int y = std::min(instances.h, end + reach) - 1; y >= begin; --y) {
    const std::int32_t* row = instances.row(y);
    for (int x = 0; x < W; ++x) sweeps[x].meet(row[x], y);
    if (y >= end) continue;
    Nearest* nearest = in_column + static_cast<std::ptrdiff_t>(y - begin) * W;
    for (int x = 0; x < W; ++x) sweeps[x].offer_to(nearest[x], y);
  }
}

// The two instances nearest to column x of a row, as far as they matter.
Nearest nearest_in_row(const Nearest* columns, int W, int x, double max_sum, double max_nearest) {
  Nearest best;
  double d1 = kInfinity;
  for (int dx = 0; dx <= std::max(x, W - 1 - x); ++dx) {
    const std::int64_t square = static_cast<std::int64_t>(dx) * dx;
    if (square >= best.second_square) break;
    // What is still to come lies at dx or farther.
    if (std::min<double>(d1, dx) + dx > max_sum && (dx >= d1 || dx > max_nearest)) break;
    const std::int64_t before = best.first_square;
    for (int at : {x - dx, x + dx}) {
      if (at < 0 || at >= W) continue;
      const Nearest& column = columns[at];
      if (column.first != 0) best.offer(column.first, column.first_square + square);
      if (column.second != 0) best.offer(column.second, column.second_square + square);
    }
    if (best.first_square != before) d1 = std::sqrt(static_cast<double>(best.first_square));
  }
  return best;
}

}  // namespace

void border_distances(int threads, Plane<const std::int32_t> instances, float max_sum,
                      float max_nearest, Plane<float> d1, Plane<float> d2) {
  const int H = instances.h, W = instances.w;
  if (d1.h != H || d1.w != W || d2.h != H || d2.w != W) {
    fail("border_distances", "d1 and d2 must have the shape of instances (" + std::to_string(H) +
                                 "x" + std::to_string(W) + ")");
  }
  if (!(max_sum >= 0) || !(max_nearest >= 0)) {
    fail("border_distances", "max_sum and max_nearest must not be negative");
  }
  const int reach = static_cast<int>(std::min<float>(H, std::max(max_sum, max_nearest)));
  const int bands = (H + kBandRows - 1) / kBandRows;
  threads = usable_threads(threads);
  // Allocated here: nothing may throw inside a parallel region.
  std::vector<Nearest> all_columns(static_cast<std::size_t>(threads) * kBandRows * W);
  std::vector<Sweep> all_sweeps(static_cast<std::size_t>(threads) * W);
#pragma omp parallel num_threads(threads)
  {
    const std::ptrdiff_t thread = omp_get_thread_num();
    Nearest* in_column = all_columns.data() + thread * kBandRows * W;
    Sweep* sweeps = all_sweeps.data() + thread * W;
#pragma omp for schedule(dynamic)
    for (int band = 0; band < bands; ++band) {
      const int begin = band * kBandRows, end = std::min(H, begin + kBandRows);
      nearest_in_columns(instances, begin, end, reach, in_column, sweeps);
      for (int y = begin; y < end; ++y) {
        const Nearest* columns = in_column + static_cast<std::ptrdiff_t>(y - begin) * W;
        for (int x = 0; x < W; ++x) {
          float& nearest = d1.row(y)[x];
          float& second = d2.row(y)[x];
          nearest = 0;
          second = kInfinity;
          if (instances.row(y)[x] != 0) continue;
          const Nearest best = nearest_in_row(columns, W, x, max_sum, max_nearest);
          const double to_first = best.first ? std::sqrt(static_cast<double>(best.first_square))
                                             : static_cast<double>(kInfinity);
          const double to_second = best.second ? std::sqrt(static_cast<double>(best.second_square))
                                               : static_cast<double>(kInfinity);
          const bool both = to_first + to_second <= max_sum;
          nearest = both || to_first <= max_nearest ? static_cast<float>(to_first) : kInfinity;
          if (both) second = static_cast<float>(to_second);
        }
      }
    }
  }
}

}  // namespace unet
