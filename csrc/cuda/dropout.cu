// dropout on a GPU: a thread draws four elements of the mask, the bits of the CPU's; applying it is
// bound by memory.
#include "core/philox.h"
#include "cuda/elements.h"
#include "ops/dropout.h"

namespace unet::UNET_GPU {
namespace {

__global__ void draw(std::ptrdiff_t blocks, MaskKey key, std::uint32_t threshold, MaskSpan mask) {
  const std::uint64_t iteration = key.iteration + (key.further != nullptr ? *key.further : 0);
  for_flat(blocks, [&](std::ptrdiff_t block) {
    const PhiloxBlock random =
        philox4x32({{std::uint32_t(block), key.layer, std::uint32_t(iteration),
                     std::uint32_t(iteration >> 32)}},
                   key.seed);
    for (int i = 0; i < 4 && 4 * block + i < mask.size; ++i) {
      mask.data[4 * block + i] = random.word[i] >= threshold;
    }
  });
}

__global__ void drop(Extent extent, ConstView bottom, ConstMaskView mask, float scale, View top) {
  for_elements(extent, [&](int n, int c, int h, int w) {
    const float kept = float(mask.pixel(n, h, w)[c]) * scale;
    top.pixel(n, h, w)[c] = bottom.pixel(n, h, w)[c] * kept;
  });
}

}  // namespace

void dropout_mask(const Context& ctx, float ratio, MaskKey key, MaskSpan mask) {
  const auto threshold = std::uint32_t(double(ratio) * 4294967296.0);
  launch_flat(ctx, "dropout_mask", draw, (mask.size + 3) / 4, key, threshold, mask);
}

void dropout_forward(const Context& ctx, ConstView bottom, ConstMaskView mask, float ratio,
                     View top) {
  launch_elements(ctx, "dropout", drop, extent_of(bottom), bottom, mask, 1.0f / (1.0f - ratio),
                  top);
}

void dropout_backward(const Context& ctx, ConstView top_diff, ConstMaskView mask, float ratio,
                      View bottom_diff) {
  UNET_GPU::dropout_forward(ctx, top_diff, mask, ratio, bottom_diff);  // the same formula
}

}  // namespace unet::UNET_GPU
