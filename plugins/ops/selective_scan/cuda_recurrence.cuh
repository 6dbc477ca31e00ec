// One step of the recurrence, for a block of states in registers.
#pragma once

#include "cuda/math.cuh"

namespace msdk::cuda {
namespace {

// h = exp(delta A) h + delta B u. B: aligned to 16 bytes. A2: A times log2(e).
template <int kStates>
__device__ __forceinline__ void advance_states(const float* B, float delta, float u, const float* A2, float* h) {
  const float input = delta * u;
#pragma unroll
  for (int n = 0; n < kStates; n += 4) {
    const float4 four = *reinterpret_cast<const float4*>(B + n);
    h[n] = exp2_approx(delta * A2[n]) * h[n] + input * four.x;
    h[n + 1] = exp2_approx(delta * A2[n + 1]) * h[n + 1] + input * four.y;
    h[n + 2] = exp2_approx(delta * A2[n + 2]) * h[n + 2] + input * four.z;
    h[n + 3] = exp2_approx(delta * A2[n + 3]) * h[n + 3] + input * four.w;
  }
}

// y + C.h. C: aligned to 16 bytes.
template <int kStates>
__device__ __forceinline__ float with_output(const float* C, const float* h, float y) {
#pragma unroll
  for (int n = 0; n < kStates; n += 4) {
    const float4 four = *reinterpret_cast<const float4*>(C + n);
    y += h[n] * four.x;
    y += h[n + 1] * four.y;
    y += h[n + 2] * four.z;
    y += h[n + 3] * four.w;
  }
  return y;
}

}  // namespace
}  // namespace msdk::cuda
