#include "image/watershed.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/context.h"
#include "core/error.h"

namespace unet {
namespace {

struct Shape {
  int h, w;
  std::ptrdiff_t size() const { return static_cast<std::ptrdiff_t>(h) * w; }
};

// Calls visit(neighbour) for the up to four neighbours of the pixel `at`: above, left, right,
// below.
template <class Visit>
void for_neighbours(Shape shape, std::int32_t at, Visit visit) {
  const std::int32_t x = at % shape.w;
  if (at >= shape.w) visit(at - shape.w);
  if (x > 0) visit(at - 1);
  if (x + 1 < shape.w) visit(at + 1);
  if (at < shape.size() - shape.w) visit(at + shape.w);
}

// The objects as the pixels are uncovered from the highest to the lowest: a forest of peaks, whose
// roots are the objects.
class Peaks {
 public:
  explicit Peaks(float depth) : depth_(depth) {}

  std::int32_t add(float height) {
    parent_.push_back(static_cast<std::int32_t>(parent_.size()));
    height_.push_back(height);
    return parent_.back();
  }

  std::int32_t root(std::int32_t peak) {
    while (parent_[peak] != peak) peak = parent_[peak] = parent_[parent_[peak]];
    return peak;
  }

  // Two roots meet at a pass: they become one object, or stay two. Returns the higher one.
  std::int32_t meet(std::int32_t one, std::int32_t other, float pass) {
    const bool swap =
        height_[other] > height_[one] || (height_[other] == height_[one] && other < one);
    const std::int32_t higher = swap ? other : one, lower = swap ? one : other;
    if (height_[lower] - pass < depth_) parent_[lower] = higher;
    return higher;
  }

  bool is_seed(std::int32_t root, float height) const { return height_[root] - height < depth_; }
  std::size_t count() const { return parent_.size(); }

 private:
  float depth_;
  std::vector<std::int32_t> parent_;
  std::vector<float> height_;
};

// The bits of a positive float, which are ordered as the floats are.
std::uint32_t bits_of(float height) {
  std::uint32_t bits;
  std::memcpy(&bits, &height, sizeof bits);
  return bits;
}

// The pixels of height > 0, the highest first, equal ones in the order of a scan row by row.
std::vector<std::int32_t> from_high_to_low(Shape shape, const float* height) {
  std::vector<std::int32_t> order, sorted;
  for (std::int32_t at = 0; at < shape.size(); ++at) {
    if (height[at] > 0) order.push_back(at);
  }
  sorted.resize(order.size());
  constexpr int kBits = 11;  // of the 32 of a height, from the lowest to the highest
  for (int shift = 0; shift < 32; shift += kBits) {
    const auto digit = [=](std::int32_t at) {
      return ~(bits_of(height[at]) >> shift) & ((1u << kBits) - 1);
    };
    std::vector<std::size_t> begin((1u << kBits) + 1);
    for (const std::int32_t at : order) ++begin[digit(at) + 1];
    for (std::size_t i = 1; i < begin.size(); ++i) begin[i] += begin[i - 1];
    for (const std::int32_t at : order) sorted[begin[digit(at)]++] = at;
    order.swap(sorted);
  }
  return order;
}

// labels = 1 + the root on the seeds of each object, 0 elsewhere; returns the number of peaks.
std::size_t find_seeds(Shape shape, const float* height, const std::vector<std::int32_t>& order,
                       float depth, std::int32_t* labels) {
  std::fill_n(labels, shape.size(), 0);
  Peaks peaks(depth);
  for (const std::int32_t at : order) {
    std::int32_t own = -1;
    for_neighbours(shape, at, [&](std::int32_t beside) {
      if (labels[beside] == 0) return;
      const std::int32_t root = peaks.root(labels[beside] - 1);
      own = own == -1 || own == root ? root : peaks.meet(own, root, height[at]);
    });
    labels[at] = 1 + (own == -1 ? peaks.add(height[at]) : own);
  }
  for (std::int32_t at = 0; at < shape.size(); ++at) {
    if (labels[at] == 0) continue;
    const std::int32_t root = peaks.root(labels[at] - 1);
    labels[at] = peaks.is_seed(root, height[at]) ? 1 + root : 0;
  }
  return peaks.count();
}

// level (H, W) = 1, 2, .. for the different heights from the lowest to the highest, 0 where not >
// 0; returns the number of levels.
int find_levels(const float* height, const std::vector<std::int32_t>& order,
                std::vector<std::int32_t>& level) {
  int count = 0;
  for (std::size_t i = order.size(); i-- > 0;) {
    const bool higher = i + 1 == order.size() || height[order[i]] > height[order[i + 1]];
    level[order[i]] = count += higher;
  }
  return count;
}

// Grows the seeds over all pixels that have a level. A pixel waits in the queue of the level of the
// highest way to it from a seed: no way leads up again, so the levels are emptied once, downwards.
void grow(Shape shape, const std::vector<std::int32_t>& level, int levels, std::int32_t* labels) {
  constexpr std::int32_t kNone = -1;
  struct Queue {
    std::int32_t first = kNone, last = kNone;
  };
  std::vector<Queue> queues(static_cast<std::size_t>(levels) + 1);
  std::vector<std::int32_t> next(level.size(), kNone);
  const auto send = [&](std::int32_t from, std::int32_t passed) {
    for_neighbours(shape, from, [&](std::int32_t at) {
      if (level[at] == 0 || labels[at] != 0) return;
      labels[at] = -labels[from];  // waiting
      Queue& queue = queues[std::min(passed, level[at])];
      (queue.first == kNone ? queue.first : next[queue.last]) = at;
      queue.last = at;
    });
  };
  for (std::int32_t at = 0; at < shape.size(); ++at) {
    if (labels[at] > 0) send(at, level[at]);
  }
  for (std::int32_t passed = levels; passed > 0; --passed) {
    Queue& queue = queues[passed];
    for (; queue.first != kNone; queue.first = next[queue.first]) {
      labels[queue.first] = -labels[queue.first];
      send(queue.first, passed);
    }
  }
}

// Numbers labels below `limit` anew: 1, 2, .. in the order of a scan row by row.
int number_by_rows(Shape shape, std::size_t limit, std::int32_t* labels) {
  std::vector<std::int32_t> number(limit, 0);
  int count = 0;
  for (std::ptrdiff_t at = 0; at < shape.size(); ++at) {
    if (labels[at] == 0) continue;
    std::int32_t& own = number[labels[at]];
    if (own == 0) own = ++count;
    labels[at] = own;
  }
  return count;
}

// squares[x] = the least of (x - u)^2 + along[u]^2 over all u: the distance within the plane, from
// those within the columns. `at` and `from` are scratch of w elements.
void lower_envelope(int w, const int* along, std::int64_t* squares, int* at, int* from) {
  const auto value = [=](int x, int u) {
    return static_cast<std::int64_t>(x - u) * (x - u) +
           static_cast<std::int64_t>(along[u]) * along[u];
  };
  // The first x at which the parabola of u lies below that of v < u.
  const auto crossing = [=](int v, int u) {
    const std::int64_t rise = static_cast<std::int64_t>(u) * u - static_cast<std::int64_t>(v) * v +
                              static_cast<std::int64_t>(along[u]) * along[u] -
                              static_cast<std::int64_t>(along[v]) * along[v];
    const std::int64_t run = 2 * static_cast<std::int64_t>(u - v);
    return (rise >= 0 ? rise / run : -((-rise + run - 1) / run)) + 1;
  };
  int last = 0;
  at[0] = from[0] = 0;
  for (int u = 1; u < w; ++u) {
    while (last >= 0 && value(from[last], at[last]) > value(from[last], u)) --last;
    if (last < 0) {
      last = 0;
      at[0] = u;
    } else if (const auto first = crossing(at[last], u); first < w) {
      ++last;
      at[last] = u;
      from[last] = static_cast<int>(first);
    }
  }
  for (int x = w - 1; x >= 0; --x) {
    squares[x] = value(x, at[last]);
    if (x == from[last]) --last;
  }
}

}  // namespace

void inner_distances(int threads, Plane<const std::uint8_t> mask, Plane<float> distance) {
  const int H = mask.h, W = mask.w, far = H + W;
  if (distance.h != H || distance.w != W) {
    fail("inner_distances", "mask and distance must have the same shape");
  }
  // Rows to the nearest background pixel of the column; whole numbers, exact in float32.
  for (int y = 0; y < H; ++y) {
    const float* above = y > 0 ? distance.row(y - 1) : nullptr;
    for (int x = 0; x < W; ++x) {
      const float farther = above != nullptr ? above[x] + 1 : static_cast<float>(far);
      distance.row(y)[x] = mask.row(y)[x] == 0 ? 0 : std::min(static_cast<float>(far), farther);
    }
  }
  for (int y = H - 2; y >= 0; --y) {
    for (int x = 0; x < W; ++x) {
      distance.row(y)[x] = std::min(distance.row(y)[x], distance.row(y + 1)[x] + 1);
    }
  }
#pragma omp parallel num_threads(usable_threads(threads))
  {
    std::vector<int> along(W), at(W), from(W);
    std::vector<std::int64_t> squares(W);
#pragma omp for schedule(static)
    for (int y = 0; y < H; ++y) {
      for (int x = 0; x < W; ++x) along[x] = static_cast<int>(distance.row(y)[x]);
      lower_envelope(W, along.data(), squares.data(), at.data(), from.data());
      for (int x = 0; x < W; ++x) {
        distance.row(y)[x] = static_cast<float>(std::sqrt(static_cast<double>(squares[x])));
      }
    }
  }
}

int watershed(Plane<const float> height, float depth, Plane<std::int32_t> labels) {
  if (height.h != labels.h || height.w != labels.w) {
    fail("watershed", "height and labels must have the same shape");
  }
  if (!(depth > 0)) fail("watershed", "depth must be positive");
  const Shape shape{height.h, height.w};
  if (shape.size() > std::numeric_limits<std::int32_t>::max()) {
    fail("watershed", "an image may have 2^31 - 1 pixels at most");
  }
  std::vector<std::int32_t> order = from_high_to_low(shape, height.data);
  const std::size_t peaks = find_seeds(shape, height.data, order, depth, labels.data);
  std::vector<std::int32_t> level(static_cast<std::size_t>(shape.size()));
  const int levels = find_levels(height.data, order, level);
  order = {};
  grow(shape, level, levels, labels.data);
  return number_by_rows(shape, peaks + 1, labels.data);
}

void close_gaps(Plane<std::int32_t> labels) {
  const Shape shape{labels.h, labels.w};
  std::vector<std::ptrdiff_t> area;
  for (std::ptrdiff_t at = 0; at < shape.size(); ++at) {
    const std::int32_t label = labels.data[at];
    if (label < 0) fail("close_gaps", "labels must not be negative");
    if (static_cast<std::size_t>(label) >= area.size()) area.resize(label + 1);
    ++area[label];
  }
  struct Change {
    std::ptrdiff_t at;
    std::int32_t label;
  };
  std::vector<Change> changes;
  for (std::ptrdiff_t at = 0; at < shape.size(); ++at) {
    if (labels.data[at] != 0) continue;
    std::int32_t largest = 0;
    bool between = false;
    const int y = static_cast<int>(at / shape.w), x = static_cast<int>(at % shape.w);
    for (int v = std::max(y - 1, 0); v <= std::min(y + 1, shape.h - 1); ++v) {
      for (int u = std::max(x - 1, 0); u <= std::min(x + 1, shape.w - 1); ++u) {
        const std::int32_t label = labels.row(v)[u];
        if (label == 0 || label == largest) continue;
        between = between || largest != 0;
        if (largest == 0 || area[label] > area[largest] ||
            (area[label] == area[largest] && label < largest)) {
          largest = label;
        }
      }
    }
    if (between) changes.push_back({at, largest});
  }
  for (const Change& change : changes) labels.data[change.at] = change.label;
}

}  // namespace unet
