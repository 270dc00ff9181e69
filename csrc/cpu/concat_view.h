// Channels of blobs that lie side by side.
#pragma once

#include "core/view.h"
#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

// The channels [first, first + count) of all parts together.
[[maybe_unused]] inline ConcatView channels_of(const ConcatView& views, int first, int count) {
  ConcatView found;
  found.parts = 0;
  for (int p = 0; p < views.parts; first -= views.part[p++].c) {
    const ConstView& view = views.part[p];
    const int begin = max(first, 0), end = min(first + count, view.c);
    if (begin >= end) continue;
    ConstView& part = found.part[found.parts++] = view;
    part.data += begin;
    part.c = end - begin;
  }
  return found;
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA
