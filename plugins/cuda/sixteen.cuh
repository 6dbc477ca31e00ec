// Neighbours in memory, as many as 16 bytes hold, in one access: 4 of float32, 8 of float16. Addresses are aligned
// to 16.
#pragma once

#include "cuda/math.cuh"

namespace msdk::cuda {

template <class T>
constexpr int kInSixteen = 16 / static_cast<int>(sizeof(T));

__device__ __forceinline__ void to_floats(unsigned two, float* x) {
  x[0] = to_float(Half{static_cast<uint16_t>(two)});
  x[1] = to_float(Half{static_cast<uint16_t>(two >> 16)});
}

// word_of_halves of tensor_cores.cuh in two conversions: the kernels that store by it take more registers on sm_120
// with that one, and kan_product_kernel more instructions with a function that suits both.
__device__ __forceinline__ unsigned two_halves(float low, float high) {
  return from_float<Half>(low).bits | static_cast<unsigned>(from_float<Half>(high).bits) << 16;
}

__device__ __forceinline__ void load_sixteen(const float* p, float* x) {
  const float4 values = *reinterpret_cast<const float4*>(p);
  x[0] = values.x, x[1] = values.y, x[2] = values.z, x[3] = values.w;
}
__device__ __forceinline__ void load_sixteen(const Half* p, float* x) {
  const uint4 bits = *reinterpret_cast<const uint4*>(p);
  to_floats(bits.x, x), to_floats(bits.y, x + 2), to_floats(bits.z, x + 4), to_floats(bits.w, x + 6);
}

__device__ __forceinline__ void store_sixteen(float* p, const float* x) {
  *reinterpret_cast<float4*>(p) = make_float4(x[0], x[1], x[2], x[3]);
}
__device__ __forceinline__ void store_sixteen(Half* p, const float* x) {
  *reinterpret_cast<uint4*>(p) =
      make_uint4(two_halves(x[0], x[1]), two_halves(x[2], x[3]), two_halves(x[4], x[5]), two_halves(x[6], x[7]));
}

}  // namespace msdk::cuda
