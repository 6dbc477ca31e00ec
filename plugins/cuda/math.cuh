// Loads, stores and functions the kernels share. Computation is in float32; float16 is converted when it is loaded and
// stored: to nearest even, and what is beyond 65504 becomes infinite, as in every float16 conversion.
#pragma once

#include "cuda/launch.cuh"
#include "cuda/sizes.h"
#include "cuda/stream.h"

namespace msdk::cuda {

constexpr float kLog2E = 1.44269504f;
constexpr int kWarp = 32;

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(Half x) { return __half2float(__ushort_as_half(x.bits)); }

// Four neighbours at once; p is aligned to them all.
__device__ __forceinline__ float4 load_four(const float* p) { return *reinterpret_cast<const float4*>(p); }
__device__ __forceinline__ float4 load_four(const Half* p) {
  const ushort4 bits = *reinterpret_cast<const ushort4*>(p);
  return {to_float(Half{bits.x}), to_float(Half{bits.y}), to_float(Half{bits.z}), to_float(Half{bits.w})};
}

template <class T>
__device__ __forceinline__ bool aligned_to_four(const T* p) {
  return reinterpret_cast<uintptr_t>(p) % (4 * sizeof(T)) == 0;
}

template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ Half from_float<Half>(float x) {
  return {__half_as_ushort(__float2half_rn(x))};
}

// 2^x on the special-function unit, one instruction; results below 2^-126 are 0.
__device__ __forceinline__ float exp2_approx(float x) {
#ifdef MSDK_CUDA_EMULATOR
  return cuda_emulator::ex2_approx(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

__device__ __forceinline__ float silu(float x) { return __fdividef(x, 1.0f + exp2_approx(-kLog2E * x)); }

// max(x, 0) + log1p(e), e = exp(-|x|), without a branch: steps interleave. log1p(e) is e times a polynomial, 1.7e-7
// from it on (0, 1] in float32, so that small results keep the relative accuracy that decays are proportional to. Above
// 20 it is x, as the op's contract has it, by rounding.
__device__ __forceinline__ float softplus(float x) {
  const float e = exp2_approx(-kLog2E * fabsf(x));
  float p = 0.0052326927f;
  p = p * e - 0.029505232f;
  p = p * e + 0.07822594f;
  p = p * e - 0.13663244f;
  p = p * e + 0.19106007f;
  p = p * e - 0.24842982f;
  p = p * e + 0.33319098f;
  p = p * e - 0.49999493f;
  p = p * e + 0.99999994f;
  return p * e + fmaxf(x, 0.0f);
}

}  // namespace msdk::cuda
