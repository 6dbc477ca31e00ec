// Sums and products in every rounding mode, approximations that are as rough as they may be, float16. Compile with
// -frounding-math.
#include <cfenv>

#include "arithmetic.h"

namespace ptx_machine {
namespace {

class RoundingMode {
 public:
  explicit RoundingMode(Rounding rounding) {
    constexpr int kModes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    std::fesetround(kModes[static_cast<int>(rounding)]);
  }
  ~RoundingMode() { std::fesetround(FE_TONEAREST); }
};

template <class T>
__attribute__((noinline)) T sum(T a, T b) {
  return a + b;
}
template <class T>
__attribute__((noinline)) T product(T a, T b) {
  return a * b;
}

// From -1 to 1, by the operands alone.
double error_of(float a, float b) {
  uint64_t hash = (uint64_t{bits<uint32_t>(a)} << 32 | bits<uint32_t>(b)) + 0x9e3779b97f4a7c15u;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  return static_cast<double>(static_cast<int64_t>(hash ^ (hash >> 31))) * 0x1p-63;
}

// One ulp is at least 2^-24 of the value, and rounding to float takes half of one: 2^-24 at most is added to that.
float within_ulps(double exact, int ulps, float a, float b) {
  return static_cast<float>(exact * (1.0 + error_of(a, b) * (ulps - 0.5) * 0x1p-24));
}

}  // namespace

float add_towards(Rounding rounding, float a, float b) {
  const RoundingMode mode(rounding);
  return sum(a, b);
}
double add_towards(Rounding rounding, double a, double b) {
  const RoundingMode mode(rounding);
  return sum(a, b);
}
float multiply_towards(Rounding rounding, float a, float b) {
  const RoundingMode mode(rounding);
  return product(a, b);
}
double multiply_towards(Rounding rounding, double a, double b) {
  const RoundingMode mode(rounding);
  return product(a, b);
}
float fma_towards(Rounding rounding, float a, float b, float c) {
  const RoundingMode mode(rounding);
  return std::fma(a, b, c);
}
double fma_towards(Rounding rounding, double a, double b, double c) {
  const RoundingMode mode(rounding);
  return std::fma(a, b, c);
}

float ex2_approx(float x) {
  if (std::isnan(x) || std::isinf(x) || flushed<kFlush>(x) == 0) return std::exp2(x);
  return static_cast<float>(std::exp2(static_cast<double>(x)) * (1.0 + error_of(x, 0.0f) * 0x1p-22));
}

float divide_approx(float a, float b) {
  const float size = std::fabs(b);
  if (size > 0x1p126f && std::isfinite(b)) return std::isinf(a) ? std::numeric_limits<float>::quiet_NaN() : 0.0f * a;
  return within_ulps(static_cast<double>(a) / static_cast<double>(b), 2, a, b);
}

float of_half(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  float size = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  if (exponent == 0) size = std::ldexp(static_cast<float>(fraction), -24);
  if (exponent == 31)
    size = fraction ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  return half >> 15 ? -size : size;
}

uint16_t to_half(float x) {
  const auto sign = static_cast<uint16_t>(std::signbit(x) ? 0x8000 : 0);
  const float size = std::fabs(x);
  if (std::isnan(x)) return 0x7fff;
  if (size >= 65520.0f) return sign | 0x7c00;
  if (size < 0x1p-14f) return static_cast<uint16_t>(sign | static_cast<int>(std::nearbyint(size * 0x1p24f)));
  int exponent;
  const float fraction = std::frexp(size, &exponent);  // from 0.5 to 1; where it rounds up to 1 the exponent grows
  const int rounded = static_cast<int>(std::nearbyint(fraction * 2048));
  return static_cast<uint16_t>(sign | (((exponent + 14) << 10) + rounded - 1024));
}

float reciprocal_approx(float x) { return within_ulps(1.0 / static_cast<double>(x), 1, x, 0.0f); }

}  // namespace ptx_machine
