// The value of each PTX instruction, as the PTX ISA defines it. Compile with -ffp-contract=off.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "thread.h"

namespace ptx_machine {

// ---- registers ----

// The same bits as another type; of a wider register the low ones.
template <class To, class From>
inline To bits(From from) {
  if constexpr (sizeof(To) == sizeof(From)) {
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
  } else {
    static_assert(std::is_integral_v<To> && std::is_integral_v<From> && sizeof(To) < sizeof(From));
    return static_cast<To>(from);
  }
}

// Writes a register; a value narrower than it is extended by its own sign.
template <class Register, class Value>
inline void set(Register& to, Value value) {
  if constexpr (sizeof(Register) == sizeof(Value)) {
    std::memcpy(&to, &value, sizeof to);
  } else {
    static_assert(std::is_integral_v<Register> && std::is_integral_v<Value> && sizeof(Register) > sizeof(Value));
    to = static_cast<Register>(static_cast<std::make_signed_t<Register>>(value));
  }
}

// ---- integers: they wrap around ----

template <class T>
using Unsigned = std::make_unsigned_t<T>;

template <class T>
inline T add(T a, T b) {
  return static_cast<T>(Unsigned<T>(a) + Unsigned<T>(b));
}
template <class T>
inline T subtract(T a, T b) {
  return static_cast<T>(Unsigned<T>(a) - Unsigned<T>(b));
}
template <class T>
inline T multiply_low(T a, T b) {
  return static_cast<T>(uint64_t(a) * uint64_t(b));
}
template <class T>
inline T multiply_high(T a, T b) {
  using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
  return static_cast<T>((Wide(a) * Wide(b)) >> (8 * sizeof(T)));
}
template <class Wide, class T>
inline Wide multiply_wide(T a, T b) {
  return static_cast<Wide>(static_cast<Wide>(a) * static_cast<Wide>(b));
}
template <class T>
inline T divide(Thread& thread, T a, T b) {
  if (b == 0) fault(thread, "an integer is divided by zero");
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return subtract(T(0), a);
  return static_cast<T>(a / b);
}
template <class T>
inline T remainder(Thread& thread, T a, T b) {
  if (b == 0) fault(thread, "an integer is divided by zero");
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
  return static_cast<T>(a % b);
}
template <class T>
inline T magnitude(T a) {
  return a < 0 ? subtract(T(0), a) : a;
}
template <class T>
inline T shift_left(T a, uint32_t by) {
  return by >= 8 * sizeof(T) ? T(0) : static_cast<T>(Unsigned<T>(a) << by);
}
template <class T>
inline T shift_right(T a, uint32_t by) {
  if (by >= 8 * sizeof(T)) return a < 0 ? static_cast<T>(-1) : T(0);
  return static_cast<T>(a >> by);
}
// The low `length` bits of a in place of those of b from `position` on.
template <class T>
inline T insert_bits(T a, T b, uint32_t position, uint32_t length) {
  position &= 255;
  length &= 255;
  for (uint32_t i = 0; i < length && position + i < 8 * sizeof(T); ++i) {
    const T bit = T(1) << (position + i);
    b = (a >> i & 1) ? (b | bit) : (b & ~bit);
  }
  return b;
}

// Four of the bytes of a (0 to 3) and b (4 to 7), each chosen by four bits of the selector; its top bit stands for the
// sign of the byte in all eight bits.
inline uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = uint64_t(b) << 32 | a;
  uint32_t permuted = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t choice = selector >> (4 * i) & 15;
    uint32_t byte = bytes >> (8 * (choice & 7)) & 255;
    if (choice & 8) byte = byte & 128 ? 255 : 0;
    permuted |= byte << (8 * i);
  }
  return permuted;
}

// ---- floating point: to nearest even unless the instruction says otherwise ----

constexpr int kPlain = 0, kFlush = 1, kSaturate = 2;  // .ftz, .sat
enum class Rounding { kNearest, kZero, kDown, kUp };

template <int flags, class T>
inline T flushed(T x) {
  if constexpr (flags & kFlush) {
    if (std::fpclassify(x) == FP_SUBNORMAL) return std::copysign(T(0), x);
  }
  return x;
}
template <int flags, class T>
inline T finished(T x) {
  x = flushed<flags>(x);
  if constexpr (flags & kSaturate) return std::isnan(x) || x <= 0 ? T(0) : x > 1 ? T(1) : x;
  return x;
}

// In arithmetic.cpp, which is compiled for a rounding mode that changes.
PTX_MACHINE_API float add_towards(Rounding, float a, float b);
PTX_MACHINE_API double add_towards(Rounding, double a, double b);
PTX_MACHINE_API float multiply_towards(Rounding, float a, float b);
PTX_MACHINE_API double multiply_towards(Rounding, double a, double b);
PTX_MACHINE_API float fma_towards(Rounding, float a, float b, float c);
PTX_MACHINE_API double fma_towards(Rounding, double a, double b, double c);

template <int flags, Rounding rounding, class T>
inline T float_add(T a, T b) {
  a = flushed<flags>(a), b = flushed<flags>(b);
  if constexpr (rounding == Rounding::kNearest) return finished<flags>(a + b);
  return finished<flags>(add_towards(rounding, a, b));
}
template <int flags, Rounding rounding, class T>
inline T float_subtract(T a, T b) {
  return float_add<flags, rounding>(a, -b);
}
template <int flags, Rounding rounding, class T>
inline T float_multiply(T a, T b) {
  a = flushed<flags>(a), b = flushed<flags>(b);
  if constexpr (rounding == Rounding::kNearest) return finished<flags>(a * b);
  return finished<flags>(multiply_towards(rounding, a, b));
}
template <int flags, Rounding rounding, class T>
inline T float_fma(T a, T b, T c) {
  a = flushed<flags>(a), b = flushed<flags>(b), c = flushed<flags>(c);
  if constexpr (rounding == Rounding::kNearest) return finished<flags>(std::fma(a, b, c));
  return finished<flags>(fma_towards(rounding, a, b, c));
}
template <int flags, class T>
inline T float_divide(T a, T b) {
  return finished<flags>(flushed<flags>(a) / flushed<flags>(b));
}
template <int flags, class T>
inline T square_root(T a) {
  return finished<flags>(std::sqrt(flushed<flags>(a)));
}
// NaN only where both are; -0 is less than +0.
template <int flags, class T>
inline T float_minimum(T a, T b) {
  a = flushed<flags>(a), b = flushed<flags>(b);
  if (std::isnan(a)) return b;
  if (std::isnan(b) || a < b) return a;
  return a == b && std::signbit(a) ? a : b;
}
template <int flags, class T>
inline T float_maximum(T a, T b) {
  return -float_minimum<flags>(-a, -b);
}

// Approximations: anywhere within the error that the PTX ISA allows them, and always the same for the same operands.
PTX_MACHINE_API float ex2_approx(float x);              // relative error 2^-22
PTX_MACHINE_API float divide_approx(float a, float b);  // 2 ulp; 0 where 2^126 < |b| < 2^128
PTX_MACHINE_API float reciprocal_approx(float x);       // 1 ulp

// ---- conversions ----

PTX_MACHINE_API float of_half(uint16_t half);
PTX_MACHINE_API uint16_t to_half(float x);  // to nearest even; infinite from 65520 on

template <class T>
inline T to_whole(Rounding rounding, T x) {
  switch (rounding) {
    case Rounding::kZero:
      return std::trunc(x);
    case Rounding::kDown:
      return std::floor(x);
    case Rounding::kUp:
      return std::ceil(x);
    default:
      return std::nearbyint(x);
  }
}
// Clamped to what the integer can hold; NaN gives 0.
template <class To, class From>
inline To to_integer(Rounding rounding, From x) {
  using Limits = std::numeric_limits<To>;
  if (std::isnan(x)) return 0;
  const From whole = to_whole(rounding, x);
  if (whole <= static_cast<From>(Limits::min())) return Limits::min();
  if (whole >= static_cast<From>(Limits::max())) return Limits::max();
  return static_cast<To>(whole);
}
template <class To, class From>
inline To clamped(From x) {
  const auto low = static_cast<__int128>(std::numeric_limits<To>::min());
  const auto high = static_cast<__int128>(std::numeric_limits<To>::max());
  const auto wide = static_cast<__int128>(x);
  return static_cast<To>(wide < low ? low : wide > high ? high : wide);
}

}  // namespace ptx_machine
