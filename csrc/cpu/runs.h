// Runs: how an elementwise op walks one row of a blob.
//
// Where the pixels of a row lie without gaps in every array involved, the row is one run of W*C
// floats, so that blobs of one or two channels fill a vector too. Otherwise (a crop of channels,
// one half of a concat buffer) each pixel is a run of C.
#pragma once

#include "core/view.h"
#include "cpu/simd.h"

namespace unet::cpu::UNET_ISA {
namespace {

struct Runs {
  int count, length;
};

template <class A, class... Views>
[[gnu::always_inline]] inline Runs runs_of_row(const A& a, const Views&... others) {
  const bool gapless = a.pixel_stride == a.c && (... && (others.pixel_stride == others.c));
  return gapless ? Runs{1, a.w * a.c} : Runs{a.w, a.c};
}

}  // namespace
}  // namespace unet::cpu::UNET_ISA
