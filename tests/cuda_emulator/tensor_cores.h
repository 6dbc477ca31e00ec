// mma.sync and ldmatrix of the emulator. Included by cuda_runtime.h.
#pragma once

#include "cuda_fp16.h"
#include "happens_before.h"

namespace cuda_emulator {

struct Matrices {
  float a[16][16], b[16][8];
};

inline void put_pair(unsigned word, float& first, float& second) {
  first = __half2float(__ushort_as_half(static_cast<unsigned short>(word)));
  second = __half2float(__ushort_as_half(static_cast<unsigned short>(word >> 16)));
}

// mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32, by the PTX ISA's tables. Lane 4i + j holds rows i and i + 8 of a
// at k = 2j, 2j + 1, 2j + 8, 2j + 9, column i of b at the same k, and columns 2j, 2j + 1 of rows i and i + 8 of the
// sums. The lanes put their pieces together in memory of lane 0.
inline void multiply_16_8_16(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2], CUDA_EMULATOR_SITE) {
  const auto all_lanes = [&](WarpOp op, uint64_t value) { return warp_collective(op, ~0u, value, 0, {file, line}); };
  const Unseen pieces_of_others;
  Matrices mine;
  Matrices& whole = *reinterpret_cast<Matrices*>(all_lanes(WarpOp::shuffle, reinterpret_cast<uintptr_t>(&mine)));
  const int i = lane() / 4, j = lane() % 4;
  for (int word = 0; word < 4; ++word) {
    float* at = &whole.a[i + word % 2 * 8][2 * j + word / 2 * 8];
    put_pair(a[word], at[0], at[1]);
  }
  for (int word = 0; word < 2; ++word) {
    const int k = 2 * j + word * 8;
    put_pair(b[word], whole.b[k][i], whole.b[k + 1][i]);
  }
  all_lanes(WarpOp::sync, 0);
  for (int sum = 0; sum < 4; ++sum) {
    const int row = i + sum / 2 * 8, column = 2 * j + sum % 2;
    for (int k = 0; k < 16; ++k) sums[sum] += whole.a[row][k] * whole.b[k][column];
  }
  all_lanes(WarpOp::sync, 0);
}

// ldmatrix.sync.aligned.m8n8.x4.shared.b16: lane 8i + j gives row j of matrix i, and gets word lane % 4 of row lane / 4
// of each.
inline void load_matrices(unsigned (&words)[4], const unsigned* row, CUDA_EMULATOR_SITE) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
    fail({file, line}, "a row of ldmatrix that is not aligned to 16 bytes");
  for (int matrix = 0; matrix < 4; ++matrix) {
    const uint64_t from =
        warp_collective(WarpOp::shuffle, ~0u, reinterpret_cast<uintptr_t>(row), 8 * matrix + lane() / 4, {file, line});
    words[matrix] = reinterpret_cast<const unsigned*>(from)[lane() % 4];
  }
}

}  // namespace cuda_emulator
