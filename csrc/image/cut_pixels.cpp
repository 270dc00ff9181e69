#include "image/cut_pixels.h"

#include <algorithm>
#include <vector>

#include "core/error.h"

namespace unet {

void find_cut_pixels(Plane<const std::uint8_t> mask, Plane<std::uint8_t> cut) {
  if (mask.h != cut.h || mask.w != cut.w) {
    fail("find_cut_pixels", "mask and cut must have the same shape");
  }
  // A frame of background spares the tests of the image's edges.
  const int stride = mask.w + 2;
  const int step[4] = {-1, -stride, 1, stride};
  const std::size_t size = static_cast<std::size_t>(mask.h + 2) * stride;
  constexpr int kBackground = -1;
  std::vector<int> found(size, kBackground);  // when the search met a pixel: 0 = not yet, 1, 2, ..
  std::vector<int> lowest(size);  // the earliest pixel next to it or to what was found through it
  for (int y = 0; y < mask.h; ++y) {
    std::fill_n(cut.row(y), cut.w, 0);
    for (int x = 0; x < mask.w; ++x) {
      if (mask.row(y)[x] != 0) found[(y + 1) * stride + x + 1] = 0;
    }
  }
  const auto mark = [&](int pixel) { cut.row(pixel / stride - 1)[pixel % stride - 1] = 1; };
  struct Open {
    int pixel;
    int next;  // neighbour to look at
  };
  std::vector<Open> path;  // of the depth-first search: a component may be one path of all pixels
  int met = 0;
  const auto open = [&](int pixel) {
    found[pixel] = lowest[pixel] = ++met;
    path.push_back({pixel, 0});
  };
  for (int root = 0; root < static_cast<int>(size); ++root) {
    if (found[root] != 0) continue;
    open(root);
    int from_root = 0;  // searches that began at the root, one for each part that only it joins
    while (!path.empty()) {
      const int pixel = path.back().pixel;
      if (path.back().next < 4) {
        const int neighbour = pixel + step[path.back().next++];
        if (found[neighbour] == 0) {
          open(neighbour);
        } else if (found[neighbour] != kBackground) {
          lowest[pixel] = std::min(lowest[pixel], found[neighbour]);
        }
        continue;
      }
      path.pop_back();
      if (path.empty()) break;
      const int parent = path.back().pixel;
      lowest[parent] = std::min(lowest[parent], lowest[pixel]);
      if (parent == root) {
        ++from_root;
      } else if (lowest[pixel] >= found[parent]) {
        mark(parent);
      }
    }
    if (from_root > 1) mark(root);
  }
}

}  // namespace unet
