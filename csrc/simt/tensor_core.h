// What a tensor core computes from the registers of the 32 lanes of a warp.
//
// Which element of A (16 x K), B (K x 8) and D (16 x 8) a register of a lane holds is laid down in
// the PTX manual (mma.m16n8k8, mma.m16n8k16). With g = lane / 4 and t = lane % 4:
//
//   D[g + 8 (i/2)][2 t + i%2]                        i-th of 4 floats
//   tf32, K = 8    A[g + 8 (i%2)][t + 4 (i/2)]       i-th of 4 registers
//                  B[t + 4 i][g]                     i-th of 2
//   bf16, K = 16   A[g + 8 (i/2 %2)][2 t + i%2 + 8 (i/4)]   i-th of 8 halves of 4 registers
//                  B[2 t + i%2 + 8 (i/2)][g]                i-th of 4 halves of 2
//
// Sums are in float here, one product after the other; the device's order is not published.
#pragma once

#include "simt/cuda_language.h"

namespace unet::simt {

struct Tf32 {
  static constexpr int kDepth = 8, kA = 4, kB = 2;
  static UNET_SIMT_RUNTIME float value(const unsigned* registers, int i) {
    return __uint_as_float(registers[i] & ~0x1fffu);  // the lowest 13 bits are not looked at
  }
  static UNET_SIMT_RUNTIME void place_a(int g, int t, int i, int& row, int& k) {
    row = g + 8 * (i % 2);
    k = t + 4 * (i / 2);
  }
  static UNET_SIMT_RUNTIME int place_b(int t, int i) { return t + 4 * i; }
};

struct Bf16 {
  static constexpr int kDepth = 16, kA = 8, kB = 4;
  static UNET_SIMT_RUNTIME float value(const unsigned* registers, int i) {
    return __uint_as_float(i % 2 ? registers[i / 2] & 0xffff0000u : registers[i / 2] << 16);
  }
  static UNET_SIMT_RUNTIME void place_a(int g, int t, int i, int& row, int& k) {
    row = g + 8 * (i / 2 % 2);
    k = 2 * t + i % 2 + 8 * (i / 4);
  }
  static UNET_SIMT_RUNTIME int place_b(int t, int i) { return 2 * t + i % 2 + 8 * (i / 2); }
};

struct Fragments {
  const unsigned *a, *b;
  float* d;
  int line;
};

template <class Format>
UNET_SIMT_RUNTIME void multiply_together(void* const* slots, unsigned mask) {
  const auto of_lane = [&](int lane) { return *static_cast<const Fragments*>(slots[lane]); };
  if (mask != kWholeWarp) {
    machine().fault("partial-warp", "a tensor-core operation without all lanes", nullptr,
                    of_lane(__builtin_ctz(mask)).line);
    return;
  }
  float a[16][Format::kDepth], b[Format::kDepth][8], d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Fragments fragments = of_lane(lane);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < Format::kA; ++i) {
      int row, k;
      Format::place_a(g, t, i, row, k);
      a[row][k] = Format::value(fragments.a, i);
    }
    for (int i = 0; i < Format::kB; ++i) {
      b[Format::place_b(t, i)][g] = Format::value(fragments.b, i);
    }
    for (int i = 0; i < 4; ++i) d[g + 8 * (i / 2)][2 * t + i % 2] = fragments.d[i];
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < Format::kDepth; ++k) {
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) of_lane(lane).d[i] = d[g + 8 * (i / 2)][2 * t + i % 2];
  }
}

template <class Format>
UNET_SIMT_RUNTIME void multiply(float (&d)[4], const unsigned* a, const unsigned* b, int line) {
  Fragments slot{a, b, d, line};
  machine().collective(kWholeWarp, Collective::kTensor, line, &slot, multiply_together<Format>);
}

// ldmatrix.x4: lane l names row l % 8 of matrix l / 8, 16 bytes; of each matrix it gets the four
// bytes l % 4 of row l / 4.
struct Rows {
  const void* row;
  unsigned* registers;
  int line;
};

UNET_SIMT_RUNTIME inline void load_together(void* const* slots, unsigned) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      const auto& owner = *static_cast<const Rows*>(slots[8 * matrix + lane / 4]);
      std::memcpy(static_cast<const Rows*>(slots[lane])->registers + matrix,
                  static_cast<const char*>(owner.row) + 4 * (lane % 4), 4);
    }
  }
}

UNET_SIMT_RUNTIME inline void load_matrices(unsigned (&registers)[4], const void* row, int line) {
  Rows slot{row, registers, line};
  machine().collective(kWholeWarp, Collective::kLoadMatrix, line, &slot, load_together);
}

}  // namespace unet::simt
