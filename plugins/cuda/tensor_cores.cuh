// Products of small matrices on tensor cores: a warp's 32 threads hold the matrices together, in pieces.
#pragma once

#include "cuda/math.cuh"

namespace msdk::cuda {

// sums += a b, with a of 16 rows by 16, b of 16 by 8 columns in float16 (two of neighbouring k in a word, the first in
// its low half), sums of 16 by 8 in float32. All lanes of the warp take part. With i = lane / 4 and j = lane % 4 a lane
// holds of a: rows i, i + 8 at k = 2j, 2j + 1, then the same rows at k + 8; of b: column i at k = 2j, 2j + 1, then at
// k + 8; of sums: columns 2j, 2j + 1 of row i, then of row i + 8.
__device__ __forceinline__ void multiply_16_8_16(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef MSDK_CUDA_EMULATOR
  cuda_emulator::multiply_16_8_16(sums, a, b);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(b[0]));
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#else
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

}  // namespace msdk::cuda
