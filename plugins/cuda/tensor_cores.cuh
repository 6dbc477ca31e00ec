// Products of small matrices on tensor cores: a warp's 32 threads hold the matrices together, in pieces.
#pragma once

#include "cuda/math.cuh"

namespace msdk::cuda {

// Two values as the halves of a word, rounded to nearest even: one instruction from sm_80 on.
__device__ __forceinline__ unsigned word_of_halves(float low, float high) {
  const __half2 two = __floats2half2_rn(low, high);
  return __half_as_ushort(__low2half(two)) | static_cast<unsigned>(__half_as_ushort(__high2half(two))) << 16;
}

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

// Four matrices of 8 by 8 halves from shared memory. A lane gives row lane % 8 of matrix lane / 8, 16 bytes, aligned to
// them, and gets of each matrix the word lane % 4 of row lane / 4. All lanes of the warp take part.
__device__ __forceinline__ void load_matrices(unsigned (&words)[4], const unsigned* row) {
#ifdef MSDK_CUDA_EMULATOR
  cuda_emulator::load_matrices(words, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
#endif
}

}  // namespace msdk::cuda
