// The launches that convolution.cu makes of a convolution: planned, with places for their results.
// Those on tensor cores, for ctx.math tf32 and bf16, are in convolution_tensor.cu.
#pragma once

#include "cuda/convolution.h"
#include "cuda/gemm.h"

namespace unet::UNET_GPU {

// Which part and split a block computes: blockIdx.z = part * splits + split.
struct Blocks {
  int splits, steps;     // steps of each split but the last
  std::ptrdiff_t split;  // from the results of one split to those of the next
  int scale;             // scale x scale parts
  // From one part to the next: of weights, given or summed, and of pixels of the larger blob.
  std::ptrdiff_t weight, row, pixel;
};

// forward or backward_data. `to` has a pixel for each row, that of the first part; with several
// splits it is the first one's, and neither bias nor ReLU are applied.
struct TapProduct {
  const char* name;
  ConstView from;
  Taps taps;
  ConstFilter weight;
  View to;
  ConstSpan bias;
  FusedRelu relu;
  Blocks blocks;
};

// backward_weights, into partial[split][part or tap][IC][OC]. `top_diff` has a pixel for each of
// bottom's that the first tap meets, that of the first part.
struct OuterProduct {
  const char* name;
  ConstView bottom;
  Taps taps;
  ConstView top_diff;
  Blocks blocks;
  float* partial;
};

// `tile`: of those in convolution_plan.h.
void convolve_on_tensor_cores(const Context& ctx, bool is_backward, int tile, const TapProduct& p);
void correlate_on_tensor_cores(const Context& ctx, int tile, const OuterProduct& p);

namespace {

// Rows of weight_diff: those of a tap are rounded up to whole quads.
inline int weight_rows(const Taps& taps, int channels) {
  return taps.side * taps.side * ((channels + 3) / 4 * 4);
}

inline dim3 grid_of(const Blocks& blocks, std::ptrdiff_t rows, int of_tile, int columns,
                    int columns_of_tile) {
  return dim3(blocks_for(rows, of_tile), blocks_for(columns, columns_of_tile),
              unsigned(blocks.splits * blocks.scale * blocks.scale));
}

// For tiles of T.
template <class T>
dim3 grid_of(const TapProduct& p) {
  return grid_of(p.blocks, std::ptrdiff_t(p.to.n) * p.to.h * p.to.w, T::kRows, p.to.c, T::kColumns);
}
template <class T>
dim3 grid_of(const OuterProduct& p) {
  return grid_of(p.blocks, weight_rows(p.taps, p.bottom.c), T::kRows, p.top_diff.c, T::kColumns);
}

inline bool is_aligned(const float* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

// Whether channels and memory allow for quads everywhere.
inline bool has_quads(const TapProduct& p) {
  return has_quads(p.from) && has_quads(p.to) && is_aligned(p.weight.data);
}
inline bool has_quads(const OuterProduct& p) {
  return has_quads(p.bottom) && has_quads(p.top_diff) && is_aligned(p.partial);
}

}  // namespace
}  // namespace unet::UNET_GPU
