// float16 on the host: __half and __half2 with the conversions the kernels use, rounding to nearest even.
#pragma once

#include <cstdint>
#include <cstring>

struct __half_raw {
  unsigned short x;
};

struct alignas(2) __half {
  unsigned short x;
  __half() = default;
  constexpr __half(const __half_raw& raw) : x(raw.x) {}
};

struct alignas(4) __half2 {
  __half x, y;
};

using half = __half;
using half2 = __half2;

inline float __half2float(__half h) {
  const uint32_t sign = uint32_t{h.x} << 16 & 0x80000000u, magnitude = h.x & 0x7fffu;
  uint32_t bits;
  if (magnitude >= 0x7c00u) {
    bits = sign | 0x7f800000u | (magnitude & 0x3ffu) << 13;
  } else if (magnitude >= 0x400u) {
    bits = sign | ((magnitude << 13) + (112u << 23));
  } else {
    const float subnormal = static_cast<float>(magnitude) * 0x1p-24f;
    std::memcpy(&bits, &subnormal, sizeof bits);
    bits |= sign;
  }
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline __half __float2half_rn(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  bits &= 0x7fffffffu;
  __half_raw half;
  if (bits > 0x7f800000u) {
    half.x = 0x7fffu;
  } else if (bits >= 0x477ff000u) {  // 65520 and above round to infinity
    half.x = static_cast<uint16_t>(sign | 0x7c00u);
  } else if (bits >= 0x38800000u) {  // 2^-14: normal
    const uint32_t rounded = bits + 0xfffu + (bits >> 13 & 1);
    half.x = static_cast<uint16_t>(sign | (rounded - (112u << 23)) >> 13);
  } else {
    // The sum's unit in the last place is 2^-24, that of a subnormal half: the addition does the rounding.
    float magnitude;
    std::memcpy(&magnitude, &bits, sizeof magnitude);
    const float sum = magnitude + 0.5f;
    uint32_t sum_bits;
    std::memcpy(&sum_bits, &sum, sizeof sum_bits);
    half.x = static_cast<uint16_t>(sign | (sum_bits - 0x3f000000u));
  }
  return half;
}

inline __half __float2half(float value) { return __float2half_rn(value); }
inline __half __ushort_as_half(unsigned short bits) { return __half_raw{bits}; }
inline unsigned short __half_as_ushort(__half h) { return h.x; }

inline float __low2float(__half2 h) { return __half2float(h.x); }
inline float __high2float(__half2 h) { return __half2float(h.y); }
inline __half __low2half(__half2 h) { return h.x; }
inline __half __high2half(__half2 h) { return h.y; }
inline __half2 __halves2half2(__half a, __half b) { return {a, b}; }
inline __half2 __floats2half2_rn(float a, float b) { return {__float2half_rn(a), __float2half_rn(b)}; }
