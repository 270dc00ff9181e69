#include "image/warping_error.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <vector>

#include "core/error.h"
#include "image/components.h"
#include "image/cut_pixels.h"

namespace unet {
namespace {

// The eight neighbours in a ring; the odd ones share an edge with the pixel in the middle.
constexpr int kRingY[8] = {-1, -1, -1, 0, 1, 1, 1, 0};
constexpr int kRingX[8] = {-1, 0, 1, 1, 1, 0, -1, -1};

template <class T, class U>
void check_same_shape(const char* function, Plane<T> a, Plane<U> b) {
  if (a.h != b.h || a.w != b.w) fail(function, "the images must have the same shape");
}

// Whether the pixel amid a ring of foreground bits may flip without changing the topology: exactly
// one 4-connected piece of foreground beside it (Yokoi, Toriwaki and Fukumura 1975).
std::array<bool, 256> simple_points() {
  std::array<bool, 256> simple{};
  for (int ring = 0; ring < 256; ++ring) {
    const auto bit = [ring](int k) { return ring >> (k & 7) & 1; };
    int pieces = 0;
    for (int k = 1; k < 8; k += 2) pieces += bit(k) - bit(k) * bit(k + 1) * bit(k + 2);
    simple[ring] = pieces == 1;
  }
  return simple;
}

// A copy of an image with a background pixel all around.
class Framed {
 public:
  explicit Framed(Plane<const std::uint8_t> image)
      : stride_(image.w + 2), pixels_(static_cast<std::size_t>(image.h + 2) * stride_) {
    for (int y = 0; y < image.h; ++y) {
      for (int x = 0; x < image.w; ++x) pixels_[index(y, x)] = image.row(y)[x] != 0;
    }
    for (int k = 0; k < 8; ++k) offset_[k] = kRingY[k] * stride_ + kRingX[k];
  }
  std::size_t size() const { return pixels_.size(); }
  std::ptrdiff_t index(int y, int x) const { return (y + 1) * stride_ + x + 1; }
  std::ptrdiff_t neighbour(std::ptrdiff_t index, int k) const { return index + offset_[k]; }
  std::uint8_t& operator[](std::ptrdiff_t index) { return pixels_[index]; }
  int ring(std::ptrdiff_t index) const {
    int bits = 0;
    for (int k = 0; k < 8; ++k) bits |= pixels_[index + offset_[k]] << k;
    return bits;
  }

 private:
  std::ptrdiff_t stride_;
  std::vector<std::uint8_t> pixels_;
  std::ptrdiff_t offset_[8];
};

// Counts the objects around a pixel, 0, 1 or 2 for more, that remain without the pixel.
//
// In the whole image, the components and their cut pixels answer for every pixel at once. Within a
// radius an object may fall apart that further away is one: only then is it followed.
class ObjectsAround {
 public:
  explicit ObjectsAround(Plane<const std::uint8_t> image)
      : image_(image),
        numbers_(static_cast<std::size_t>(image.h) * image.w),
        cut_(numbers_.size()),
        visit_(numbers_.size(), 0) {
    label_components(image, Neighbours::k4, {numbers_.data(), image.h, image.w});
    find_cut_pixels(image, {cut_.data(), image.h, image.w});
  }

  int count(int y, int x, int ring, int radius) {
    if (ring == 0) return 0;
    if (ring == 255) return 1;
    int seeds[4], pieces = 0;  // one ring pixel for each run of foreground around the ring
    for (int k = 0; k < 8; ++k) {
      if ((ring >> k & 1) && !(ring >> ((k + 7) & 7) & 1)) {
        seeds[pieces++] = index(y + kRingY[k], x + kRingX[k]);
      }
    }
    if (pieces == 1) return 1;
    if (cut_[index(y, x)] != 0) return 2;
    for (int piece = 1; piece < pieces; ++piece) {
      if (numbers_[seeds[piece]] != numbers_[seeds[0]]) return 2;
    }
    return radius == 0 || joined(y, x, seeds, pieces, radius) ? 1 : 2;
  }

 private:
  int index(int y, int x) const { return y * image_.w + x; }

  // Whether the pieces are one object within `reach` rows and columns of (y, x). They grow in
  // turns, a pixel at a time, so that the search ends soon after the smallest is complete.
  bool joined(int y, int x, const int* seeds, int pieces, int reach) {
    const int top = std::max(y - reach, 0), bottom = std::min(y + reach, image_.h - 1);
    const int left = std::max(x - reach, 0), right = std::min(x + reach, image_.w - 1);
    int root[4] = {0, 1, 2, 3};
    int roots = pieces;
    std::size_t head[4] = {};
    const std::int64_t first = last_visit_ + 1;
    last_visit_ += pieces;
    for (int piece = 0; piece < pieces; ++piece) {
      queue_[piece].assign(1, seeds[piece]);
      visit_[seeds[piece]] = first + piece;
    }
    const int centre = index(y, x);
    for (;;) {
      bool growing[4] = {};
      for (int piece = 0; piece < pieces; ++piece) {
        if (head[piece] == queue_[piece].size()) continue;
        const int pixel = queue_[piece][head[piece]++];
        const int row = pixel / image_.w, column = pixel % image_.w;
        const auto visit = [&](int neighbour) {
          if (neighbour == centre || numbers_[neighbour] == 0) return;
          if (visit_[neighbour] < first) {
            visit_[neighbour] = first + piece;
            queue_[piece].push_back(neighbour);
            return;
          }
          const int other = root[visit_[neighbour] - first], own = root[piece];
          if (other == own) return;
          --roots;
          for (int& r : root) r = r == other ? own : r;
        };
        if (column > left) visit(pixel - 1);
        if (row > top) visit(pixel - image_.w);
        if (column < right) visit(pixel + 1);
        if (row < bottom) visit(pixel + image_.w);
        if (roots == 1) return true;
      }
      for (int piece = 0; piece < pieces; ++piece) {
        if (head[piece] < queue_[piece].size()) growing[root[piece]] = true;
      }
      for (int piece = 0; piece < pieces; ++piece) {
        if (!growing[root[piece]]) return false;  // complete, and not all
      }
    }
  }

  Plane<const std::uint8_t> image_;
  std::vector<std::int32_t> numbers_;  // of the components of the whole image
  std::vector<std::uint8_t> cut_;      // its cut pixels
  std::vector<std::int64_t> visit_;
  std::int64_t last_visit_ = 0;
  std::vector<int> queue_[4];
};

}  // namespace

std::int64_t warp_label(Plane<const float> proposal, double threshold, Plane<std::uint8_t> warped) {
  check_same_shape("warp_label", proposal, warped);
  static const std::array<bool, 256> kSimple = simple_points();
  struct Difference {
    double strength;
    int y, x;
  };
  Framed label({warped.data, warped.h, warped.w});
  std::vector<Difference> differing;
  for (int x = 0; x < warped.w; ++x) {
    for (int y = 0; y < warped.h; ++y) {
      const double value = proposal.row(y)[x];
      if ((value > threshold) != (label[label.index(y, x)] != 0)) {
        differing.push_back({std::abs(value - threshold), y, x});
      }
    }
  }
  std::stable_sort(
      differing.begin(), differing.end(),
      [](const Difference& a, const Difference& b) { return a.strength > b.strength; });

  // A flip never makes a new difference, so the order of the first pass serves all of them. A pixel
  // that could not flip is looked at again only after one beside it has flipped: in the same pass
  // if its turn comes later, else in the next. So all passes together cost as many looks as there
  // are differences and neighbours of flips; passes over all of them would be quadratic where each
  // flips one pixel, as when a long line withdraws from its end.
  constexpr int kSame = -1;
  const int count = static_cast<int>(differing.size());
  std::vector<int> rank(label.size(), kSame);  // of the differing pixels; kSame for all others
  std::vector<int> pass(count), next;          // ranks to look at; `pass` is a heap, lowest first
  std::vector<bool> waits(count, true);        // whether a rank is in one of them
  for (int r = 0; r < count; ++r) {
    rank[label.index(differing[r].y, differing[r].x)] = r;
    pass[r] = r;
  }
  std::int64_t remaining = count;
  while (!pass.empty()) {
    while (!pass.empty()) {
      const int turn = pass.front();
      std::pop_heap(pass.begin(), pass.end(), std::greater<>());
      pass.pop_back();
      waits[turn] = false;
      const std::ptrdiff_t index = label.index(differing[turn].y, differing[turn].x);
      if (!kSimple[label.ring(index)]) continue;
      label[index] ^= 1;
      rank[index] = kSame;
      --remaining;
      for (int k = 0; k < 8; ++k) {
        const int beside = rank[label.neighbour(index, k)];
        if (beside == kSame || waits[beside]) continue;
        waits[beside] = true;
        if (beside < turn) {
          next.push_back(beside);
        } else {
          pass.push_back(beside);
          std::push_heap(pass.begin(), pass.end(), std::greater<>());
        }
      }
    }
    pass.swap(next);
    std::make_heap(pass.begin(), pass.end(), std::greater<>());
  }
  for (int y = 0; y < warped.h; ++y) {
    for (int x = 0; x < warped.w; ++x) warped.row(y)[x] = label[label.index(y, x)];
  }
  return remaining;
}

void classify_mismatches(Plane<const std::uint8_t> warped, Plane<const float> proposal,
                         double threshold, int radius, Plane<std::uint8_t> mismatches) {
  check_same_shape("classify_mismatches", warped, proposal);
  check_same_shape("classify_mismatches", warped, mismatches);
  if (radius < 0) fail("classify_mismatches", "the radius must be positive, or 0 for no limit");
  Framed label(warped);
  ObjectsAround objects(warped);
  const Mismatch lost[3] = {kObjectDeletion, kHoleAddition, kSplit};
  const Mismatch gained[3] = {kObjectAddition, kHoleAddition, kMerger};
  for (int y = 0; y < warped.h; ++y) {
    for (int x = 0; x < warped.w; ++x) {
      mismatches.row(y)[x] = kNone;
      const bool interior = warped.row(y)[x] != 0;
      if ((proposal.row(y)[x] > threshold) == interior) continue;
      const int ring = label.ring(label.index(y, x));
      const int around = objects.count(y, x, ring, radius);
      mismatches.row(y)[x] = interior ? lost[around] : ring == 255 ? kHoleDeletion : gained[around];
    }
  }
}

}  // namespace unet
