// The features of a KAN layer.
#pragma once

#include "cuda/math.cuh"
#include "ops/kan_linear/cuda.h"

namespace msdk::cuda {

// The cardinal cubic B-spline on [0, 4]: with q = |r - 2|, (max(2-q,0)^3 - 4 max(1-q,0)^3) / 6.
__device__ __forceinline__ float cubic_bspline(float r) {
  const float q = fabsf(r - 2.0f), a = fmaxf(2.0f - q, 0.0f), b = fmaxf(1.0f - q, 0.0f);
  return (a * a * a - 4.0f * (b * b * b)) * (1.0f / 6.0f);
}

}  // namespace msdk::cuda
