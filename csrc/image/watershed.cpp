#include "image/watershed.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>
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
void for_neighbours(Shape shape, std::ptrdiff_t at, Visit visit) {
  const auto y = at / shape.w, x = at % shape.w;
  if (y > 0) visit(at - shape.w);
  if (x > 0) visit(at - 1);
  if (x + 1 < shape.w) visit(at + 1);
  if (y + 1 < shape.h) visit(at + shape.w);
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

// labels = 1 + the root on the seeds of each object, 0 elsewhere; returns the number of peaks.
std::size_t find_seeds(Shape shape, const float* height, float depth, std::int32_t* labels) {
  std::vector<std::int32_t> order;
  for (std::ptrdiff_t at = 0; at < shape.size(); ++at) {
    labels[at] = 0;
    if (height[at] > 0) order.push_back(static_cast<std::int32_t>(at));
  }
  std::sort(order.begin(), order.end(), [=](std::int32_t one, std::int32_t other) {
    return height[one] != height[other] ? height[one] > height[other] : one < other;
  });
  Peaks peaks(depth);
  for (const auto at : order) {
    std::int32_t own = -1;
    for_neighbours(shape, at, [&](std::ptrdiff_t beside) {
      if (labels[beside] == 0) return;
      const std::int32_t root = peaks.root(labels[beside] - 1);
      own = own == -1 || own == root ? root : peaks.meet(own, root, height[at]);
    });
    labels[at] = 1 + (own == -1 ? peaks.add(height[at]) : own);
  }
  for (const auto at : order) {
    const std::int32_t root = peaks.root(labels[at] - 1);
    labels[at] = peaks.is_seed(root, height[at]) ? 1 + root : 0;
  }
  return peaks.count();
}

// Grows the seeds over all pixels of height > 0.
void grow(Shape shape, const float* height, std::int32_t* labels) {
  struct Waiting {
    float level;  // of the highest way from a seed to here
    std::int32_t turn, at, label;
    bool operator<(const Waiting& other) const {
      return level != other.level ? level < other.level : turn > other.turn;
    }
  };
  std::priority_queue<Waiting> queue;
  std::vector<std::uint8_t> queued(static_cast<std::size_t>(shape.size()));
  std::int32_t turn = 0;
  const auto send = [&](std::ptrdiff_t from, float level) {
    for_neighbours(shape, from, [&](std::ptrdiff_t at) {
      if (labels[at] != 0 || queued[at] || !(height[at] > 0)) return;
      queued[at] = 1;
      queue.push(
          {std::min(level, height[at]), turn++, static_cast<std::int32_t>(at), labels[from]});
    });
  };
  for (std::ptrdiff_t at = 0; at < shape.size(); ++at) {
    if (labels[at] != 0) send(at, height[at]);
  }
  while (!queue.empty()) {
    const Waiting next = queue.top();
    queue.pop();
    labels[next.at] = next.label;
    send(next.at, next.level);
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
  const std::size_t peaks = find_seeds(shape, height.data, depth, labels.data);
  grow(shape, height.data, labels.data);
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
