// softmax on the CPU: blocks of kLanes pixels, one pass each for maximum, exponentials and
// division. The exponentials wait in the top, so nothing but the output is needed.
#include "ops/softmax.h"

#include "cpu/parallel.h"
#include "cpu/pixels.h"

namespace unet::cpu::UNET_ISA {

void softmax_forward(const Context& ctx, ConstView bottom, View top) {
  const int C = bottom.c;
  const std::ptrdiff_t from_stride = bottom.pixel_stride, to_stride = top.pixel_stride;
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, bottom.count()))
  for (int row = 0; row < bottom.n * bottom.h; ++row) {
    const int n = row / bottom.h, h = row % bottom.h;
    for (int w = 0; w < bottom.w; w += kLanes) {
      const int count = min(kLanes, bottom.w - w);
      const float* from = bottom.pixel(n, h, w);
      float* to = top.pixel(n, h, w);
      vfloat maximum = gather(from, from_stride, count);
      for (int c = 1; c < C; ++c) {
        const vfloat x = gather(from + c, from_stride, count);
        maximum = x > maximum ? x : maximum;
      }
      vfloat sum{};
      for (int c = 0; c < C; ++c) {
        const vfloat e = exp_nonpositive(gather(from + c, from_stride, count) - maximum);
        sum += e;
        scatter(to + c, to_stride, count, e);
      }
      for (int c = 0; c < C; ++c) {
        scatter(to + c, to_stride, count, gather(to + c, to_stride, count) / sum);
      }
    }
  }
}

void softmax_backward(const Context& ctx, ConstView top, ConstView top_diff, View bottom_diff) {
  const int C = top.c;
#pragma omp parallel for schedule(static) num_threads(threads_for(ctx, top.count()))
  for (int row = 0; row < top.n * top.h; ++row) {
    const int n = row / top.h, h = row % top.h;
    for (int w = 0; w < top.w; w += kLanes) {
      const int count = min(kLanes, top.w - w);
      const float* y = top.pixel(n, h, w);
      const float* dy = top_diff.pixel(n, h, w);
      float* dx = bottom_diff.pixel(n, h, w);
      vfloat dot{};
      for (int c = 0; c < C; ++c) {
        dot +=
            gather(y + c, top.pixel_stride, count) * gather(dy + c, top_diff.pixel_stride, count);
      }
      for (int c = 0; c < C; ++c) {
        const vfloat probability = gather(y + c, top.pixel_stride, count);
        const vfloat diff = gather(dy + c, top_diff.pixel_stride, count);
        scatter(dx + c, bottom_diff.pixel_stride, count, probability * (diff - dot));
      }
    }
  }
}

}  // namespace unet::cpu::UNET_ISA
