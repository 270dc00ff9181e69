#include "image/flooding.h"

#include <algorithm>
#include <vector>

#include "image/components.h"

namespace unet {
namespace {

// Numbers the components 1..count anew, in the order of a scan column by column.
void number_by_columns(Plane<std::int32_t> labels, int count) {
  std::vector<std::int32_t> number(static_cast<std::size_t>(count) + 1, 0);
  int numbered = 0;
  for (int x = 0; x < labels.w && numbered < count; ++x) {
    for (int y = 0; y < labels.h; ++y) {
      const std::int32_t label = labels.row(y)[x];
      if (label != 0 && number[label] == 0) number[label] = ++numbered;
    }
  }
  for (int y = 0; y < labels.h; ++y) {
    for (int x = 0; x < labels.w; ++x) labels.row(y)[x] = number[labels.row(y)[x]];
  }
}

}  // namespace

int flood_basins(Plane<const std::uint8_t> interior, Plane<std::int32_t> basins) {
  const int count = label_components(interior, Neighbours::k4, basins);
  if (count == 0) {
    for (int y = 0; y < basins.h; ++y) std::fill_n(basins.row(y), basins.w, 1);
    return 1;
  }
  number_by_columns(basins, count);

  struct Pixel {
    int y, x;
  };
  const Pixel step[4] = {{0, -1}, {-1, 0}, {0, 1}, {1, 0}};  // left, up, right, down
  const int H = basins.h, W = basins.w;
  const auto inside = [=](int y, int x) { return y >= 0 && y < H && x >= 0 && x < W; };
  std::vector<std::uint8_t> seen(static_cast<std::size_t>(H) * W);
  const auto seen_at = [&](int y, int x) -> std::uint8_t& {
    return seen[static_cast<std::size_t>(y) * W + x];
  };

  std::vector<Pixel> queue;
  for (int x = 0; x < W; ++x) {
    for (int y = 0; y < H; ++y) {
      if (basins.row(y)[x] != 0) {
        seen_at(y, x) = 1;
        continue;
      }
      for (const Pixel s : step) {
        if (inside(y + s.y, x + s.x) && basins.row(y + s.y)[x + s.x] != 0) {
          seen_at(y, x) = 1;
          queue.push_back({y, x});
          break;
        }
      }
    }
  }
  for (std::size_t head = 0; head < queue.size(); ++head) {
    const Pixel pixel = queue[head];
    std::int32_t basin = 0;
    bool meeting = false;
    for (const Pixel s : step) {
      const int y = pixel.y + s.y, x = pixel.x + s.x;
      if (!inside(y, x)) continue;
      const std::int32_t beside = basins.row(y)[x];
      if (beside != 0) {
        meeting = meeting || (basin != 0 && beside != basin);
        basin = beside;
      } else if (!seen_at(y, x)) {
        seen_at(y, x) = 1;
        queue.push_back({y, x});
      }
    }
    if (!meeting) basins.row(pixel.y)[pixel.x] = basin;
  }
  return count;
}

}  // namespace unet
