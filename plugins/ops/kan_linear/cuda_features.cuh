// The features of a KAN layer.
#pragma once

#include "cuda/math.cuh"
#include "ops/kan_linear/cuda.h"

namespace msdk::cuda {

// Of cubic B-splines on a uniform grid, spline g not zero on g < position < g + 4, the four around a position: those of
// the numbers first to first + 3, whether there are such splines or not.
struct Splines {
  int first;
  float values[4];
};

// Where x lies among `bases` splines, less a half: from -1.5 to bases + 2.5, beyond which they are zero. NaN is -1.5.
__device__ __forceinline__ float spline_position(float x, float grid_min, float knots_per_unit, int bases) {
  const float position = (x - grid_min) * knots_per_unit + 2.5f;
  return fminf(fmaxf(position, -1.5f), static_cast<float>(bases) + 2.5f);
}

// Without conversions: the sum with 1.5 * 2^23 rounds to the whole number, which its low bits hold. On a knot either
// side will do.
__device__ __forceinline__ Splines splines_at(float position_less_half) {
  constexpr float kWhole = 12582912.0f;
  const float whole = position_less_half + kWhole;
  const float u = position_less_half - (whole - kWhole) + 0.5f, v = 1.0f - u;
  const float uu = u * u, vv = v * v;
  return {__float_as_int(whole) - __float_as_int(kWhole) - 3,
          {vv * (v * (1.0f / 6.0f)), uu * (0.5f * u - 1.0f) + 2.0f / 3.0f, vv * (0.5f * v - 1.0f) + 2.0f / 3.0f,
           uu * (u * (1.0f / 6.0f))}};
}

}  // namespace msdk::cuda
