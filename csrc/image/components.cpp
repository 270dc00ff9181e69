#include "image/components.h"

#include <algorithm>
#include <vector>

#include "core/error.h"

namespace unet {

int label_components(Plane<const std::uint8_t> mask, Neighbours neighbours,
                     Plane<std::int32_t> labels) {
  if (mask.h != labels.h || mask.w != labels.w) {
    fail("label_components", "mask and labels must have the same shape");
  }
  const int reach_diagonal = neighbours == Neighbours::k8 ? 1 : 0;
  struct Pixel {
    int y, x;
  };
  std::vector<Pixel> open;
  for (int y = 0; y < labels.h; ++y) std::fill_n(labels.row(y), labels.w, 0);
  int count = 0;
  const auto claim = [&](int y, int x) {
    labels.row(y)[x] = count;
    open.push_back({y, x});
  };
  for (int y = 0; y < mask.h; ++y) {
    for (int x = 0; x < mask.w; ++x) {
      if (mask.row(y)[x] == 0 || labels.row(y)[x] != 0) continue;
      ++count;
      claim(y, x);
      while (!open.empty()) {
        const Pixel pixel = open.back();
        open.pop_back();
        for (int v = std::max(pixel.y - 1, 0); v <= std::min(pixel.y + 1, mask.h - 1); ++v) {
          const int reach = v == pixel.y ? 1 : reach_diagonal;
          const int last = std::min(pixel.x + reach, mask.w - 1);
          for (int u = std::max(pixel.x - reach, 0); u <= last; ++u) {
            if (mask.row(v)[u] != 0 && labels.row(v)[u] == 0) claim(v, u);
          }
        }
      }
    }
  }
  return count;
}

}  // namespace unet
