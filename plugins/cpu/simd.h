// Float vectors of the instruction set this file is compiled for, on the vector extensions of GCC and Clang.
//
// Included only by isa_kernels.inc, once per instruction set, inside a namespace of that set's own: nothing here may
// be shared between object files compiled with different -m flags.

#ifndef MSDK_LANES
#error "MSDK_LANES (floats per vector) must be defined"
#endif

constexpr int kLanes = MSDK_LANES;
typedef float Vec __attribute__((vector_size(4 * MSDK_LANES), may_alias));
typedef int32_t VecInt __attribute__((vector_size(4 * MSDK_LANES), may_alias));
typedef float VecUnaligned __attribute__((vector_size(4 * MSDK_LANES), may_alias, aligned(4)));
typedef double VecDouble __attribute__((vector_size(4 * MSDK_LANES), may_alias));  // half as many

static inline Vec splat(float x) { return x - Vec{}; }
static inline Vec load(const float* p) { return *reinterpret_cast<const VecUnaligned*>(p); }
static inline void store(float* p, Vec v) { *reinterpret_cast<VecUnaligned*>(p) = v; }

// The first `count` of kLanes floats, zeros behind them.
static inline Vec load_first(const float* p, int64_t count) {
#if defined(__AVX512F__) && MSDK_LANES == 16
  return (Vec)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
#else
  Vec v = {};
  memcpy(&v, p, sizeof(float) * count);
  return v;
#endif
}

static inline void store_first(float* p, Vec v, int64_t count) {
#if defined(__AVX512F__) && MSDK_LANES == 16
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), (__m512)v);
#else
  memcpy(p, &v, sizeof(float) * count);
#endif
}

// The lower and the upper half of the lanes in double.
static inline void widen(Vec v, VecDouble* halves) {
#if defined(__AVX512F__) && MSDK_LANES == 16
  halves[0] = (VecDouble)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v));
  halves[1] = (VecDouble)_mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd((__m512d)v, 1)));
#elif defined(__AVX__) && MSDK_LANES == 8
  halves[0] = (VecDouble)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v));
  halves[1] = (VecDouble)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, 1));
#elif defined(__SSE2__) && MSDK_LANES == 4
  halves[0] = (VecDouble)_mm_cvtps_pd((__m128)v);
  halves[1] = (VecDouble)_mm_cvtps_pd(_mm_movehl_ps((__m128)v, (__m128)v));
#else
  typedef float VecHalf __attribute__((vector_size(2 * MSDK_LANES)));
  for (int side = 0; side < 2; ++side) {
    VecHalf half;
    memcpy(&half, reinterpret_cast<const char*>(&v) + side * sizeof(half), sizeof(half));
    halves[side] = __builtin_convertvector(half, VecDouble);
  }
#endif
}

// Results that the caches cannot hold until they are read are stored past them, which saves reading what was there.
constexpr int64_t kFloatsOfCaches = 6 << 20;  // of a last level of 24 MB

static inline bool goes_past_caches(const float* y, int64_t floats, int64_t row) {
  return floats > kFloatsOfCaches && row % kLanes == 0 && reinterpret_cast<uintptr_t>(y) % sizeof(Vec) == 0;
}

static inline void store_result(float* p, Vec v, bool past_caches) {
#if defined(__AVX512F__) && MSDK_LANES == 16
  if (past_caches) return _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX__) && MSDK_LANES == 8
  if (past_caches) return _mm256_stream_ps(p, (__m256)v);
#elif defined(__SSE__) && MSDK_LANES == 4
  if (past_caches) return _mm_stream_ps(p, (__m128)v);
#else
  (void)past_caches;
#endif
  store(p, v);
}

// After a task's last store_result: what went past the caches is there for other threads.
static inline void finish_results(bool past_caches) {
#if defined(__SSE__)
  if (past_caches) _mm_sfence();
#else
  (void)past_caches;
#endif
}

// The larger of the two; y where x is NaN (the x86 instruction's rule).
static inline Vec max(Vec x, Vec y) {
#if defined(__AVX512F__) && MSDK_LANES == 16
  return (Vec)_mm512_max_ps((__m512)x, (__m512)y);
#elif defined(__AVX__) && MSDK_LANES == 8
  return (Vec)_mm256_max_ps((__m256)x, (__m256)y);
#elif defined(__SSE__) && MSDK_LANES == 4
  return (Vec)_mm_max_ps((__m128)x, (__m128)y);
#else
  return x > y ? x : y;
#endif
}

static inline Vec sqrt(Vec x) {
#if defined(__AVX512F__) && MSDK_LANES == 16
  return (Vec)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX__) && MSDK_LANES == 8
  return (Vec)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE__) && MSDK_LANES == 4
  return (Vec)_mm_sqrt_ps((__m128)x);
#else
  Vec root = {};
  for (int lane = 0; lane < kLanes; ++lane) root[lane] = __builtin_sqrtf(x[lane]);
  return root;
#endif
}

static inline Vec min(Vec x, Vec y) { return -max(-x, -y); }

// Runs the statement for g = 0 .. G-1, unrolled: independent chains side by side keep the FMA units busy.
#define MSDK_EACH(G) _Pragma("GCC unroll 16") for (int g = 0; g < (G); ++g)

// Clang looks far ahead for loads, and takes chains side by side apart. AVX2 has 16 registers: it would spill values in
// innermost loops and load constants again for each chain. all_at_once keeps it from beginning what follows before all
// of v is there; nothing_ahead from loading for what follows. GCC needs neither, nor do 32 registers.
#if defined(__clang__) && defined(__AVX2__) && MSDK_LANES == 8
template <int G>
static inline void all_at_once(Vec* v) {
  if constexpr (G == 2) __asm__("" : "+x"(v[0]), "+x"(v[1]));
  if constexpr (G == 3) __asm__("" : "+x"(v[0]), "+x"(v[1]), "+x"(v[2]));
  if constexpr (G == 4) __asm__("" : "+x"(v[0]), "+x"(v[1]), "+x"(v[2]), "+x"(v[3]));
}
static inline void nothing_ahead(Vec& v) { __asm__ volatile("" : "+x"(v) : : "memory"); }
#else
template <int G>
static inline void all_at_once(Vec*) {}
static inline void nothing_ahead(Vec&) {}
#endif

// Takes the nearest whole number out of x, which keeps the rest, at most 1/2 either way; and p * 2^whole.
#if defined(__AVX512DQ__) && MSDK_LANES == 16
typedef Vec Whole;
static inline Whole take_whole(Vec& x) {
  const Vec rest = (Vec)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT);
  const Vec whole = x - rest;
  x = rest;
  return whole;
}
static inline Vec scale_by_power(Vec p, Whole whole) { return (Vec)_mm512_scalef_ps((__m512)p, (__m512)whole); }
#else
typedef VecInt Whole;  // the whole number in its low bits, to be added to an exponent
static inline Whole take_whole(Vec& x) {
#if defined(__AVX2__) && MSDK_LANES == 8
  const __m256i whole = _mm256_cvtps_epi32((__m256)x);  // no constant, and the same numbers
  x = x - (Vec)_mm256_cvtepi32_ps(whole);
  return (Whole)whole;
#else
  const float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves round(x) in the low mantissa bits
  const Vec shifted = x + round;
  x = x - (shifted - round);
  return (VecInt)shifted;
#endif
}
static inline Vec scale_by_power(Vec p, Whole whole) { return (Vec)((VecInt)p + (whole << 23)); }
#endif

// x[g] = 2^x[g] for x <= 127, at least 2^-126; relative error below 1.7e-7. Without kClamp x must be at least -126.
// 2^fraction is a minimax polynomial that is exactly 1 at 0, so that decays close to 1 keep their distance from 1.
template <int G, bool kClamp = true>
static inline void exp2_each(Vec* x) {
  Whole whole[G];
  Vec p[G];
  if constexpr (kClamp) MSDK_EACH(G) x[g] = max(x[g], splat(-126.0f));
  MSDK_EACH(G) whole[g] = take_whole(x[g]);
  all_at_once<G>(x);
  MSDK_EACH(G) p[g] = x[g] * 1.3264727630e-3f + 9.6715126462e-3f;
  all_at_once<G>(p);
  MSDK_EACH(G) p[g] = p[g] * x[g] + 5.5507337418e-2f;
  all_at_once<G>(p);
  MSDK_EACH(G) p[g] = p[g] * x[g] + 2.4022242085e-1f;
  all_at_once<G>(p);
  MSDK_EACH(G) p[g] = p[g] * x[g] + 6.9314697760e-1f;
  all_at_once<G>(p);
  MSDK_EACH(G) p[g] = p[g] * x[g] + 1.0f;
  MSDK_EACH(G) x[g] = scale_by_power(p[g], whole[g]);
}

constexpr float kLog2E = 1.44269504089f;

// x[g] = exp(x[g]) for x <= 87.
template <int G>
static inline void exp_each(Vec* x) {
  MSDK_EACH(G) x[g] = x[g] * kLog2E;
  exp2_each<G>(x);
}

// Below -87 SiLU is 0 but for 1e-36; a NaN stays one.
template <int G>
static inline void silu_each(Vec* x) {
  Vec e[G];
  MSDK_EACH(G) x[g] = max(splat(-87.0f), x[g]);
  MSDK_EACH(G) e[g] = -x[g];
  exp_each<G>(e);
  MSDK_EACH(G) x[g] = x[g] / (1.0f + e[g]);
}

// log(1 + exp(x)) = max(x, 0) + log1p(v), v = exp(-|x|), and log1p(v) = 2 atanh(v / (2 + v)) keeps its relative
// precision for small v. Above 20 it is the identity to the last bit.
template <int G>
static inline void softplus_each(Vec* x) {
  Vec v[G], s[G], s2[G], p[G];
  MSDK_EACH(G) v[g] = min(x[g], -x[g]);
  exp_each<G>(v);
  MSDK_EACH(G) s[g] = v[g] / (v[g] + 2.0f);
  MSDK_EACH(G) s2[g] = s[g] * s[g];
  MSDK_EACH(G) p[g] = s2[g] * 2.4289549110e-1f + 2.1430742668e-1f;
  MSDK_EACH(G) p[g] = p[g] * s2[g] + 2.8616596561e-1f;
  MSDK_EACH(G) p[g] = p[g] * s2[g] + 3.9998888361e-1f;
  MSDK_EACH(G) p[g] = p[g] * s2[g] + 6.6666675500e-1f;
  MSDK_EACH(G) x[g] = max(splat(0.0f), x[g]) + (s[g] * s2[g] * p[g] + 2.0f * s[g]);
}

template <int... kIndex>
struct Lanes {
  // From a where the lane's bit kDistance is clear, from the lane kDistance below in b where it is set.
  template <int kDistance>
  static Vec merge_low(Vec a, Vec b) {
    return shuffle<(kIndex & kDistance ? kLanes + kIndex - kDistance : kIndex)...>(a, b);
  }
  // From the lane kDistance above in a where the bit is clear, from b where it is set.
  template <int kDistance>
  static Vec merge_high(Vec a, Vec b) {
    return shuffle<(kIndex & kDistance ? kLanes + kIndex : kIndex + kDistance)...>(a, b);
  }

  // a[0], b[0], a[1], b[1] .. from the lower, or the upper, half of the lanes.
  static Vec interleave_low(Vec a, Vec b) { return shuffle<(kIndex / 2 + kIndex % 2 * kLanes)...>(a, b); }
  static Vec interleave_high(Vec a, Vec b) { return shuffle<((kLanes + kIndex) / 2 + kIndex % 2 * kLanes)...>(a, b); }

  // Every lane of v from the lane below, the first from before's last; from the lane above, the last from after's
  // first.
  static Vec one_up(Vec before, Vec v) { return shuffle<(kLanes - 1 + kIndex)...>(before, v); }
  static Vec one_down(Vec v, Vec after) { return shuffle<(kIndex + 1)...>(v, after); }

  // a[0], a[2] .. b[0], b[2] .., and a[1], a[3] .. b[1], b[3] ...
  static Vec even_of(Vec a, Vec b) { return shuffle<(2 * kIndex)...>(a, b); }
  static Vec odd_of(Vec a, Vec b) { return shuffle<(2 * kIndex + 1)...>(a, b); }

 private:
  template <int... kFrom>
  static Vec shuffle(Vec a, Vec b) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, kFrom...);
#else
    return __builtin_shuffle(a, b, VecInt{kFrom...});
#endif
  }
};

#if MSDK_LANES == 16
using AllLanes = Lanes<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>;
#elif MSDK_LANES == 8
using AllLanes = Lanes<0, 1, 2, 3, 4, 5, 6, 7>;
#else
using AllLanes = Lanes<0, 1, 2, 3>;
#endif

template <int kDistance>
static inline void exchange(Vec* rows) {
  if constexpr (kDistance < kLanes) {
    MSDK_EACH(kLanes) {
      if (g & kDistance) continue;
      const Vec a = rows[g], b = rows[g + kDistance];
      rows[g] = AllLanes::merge_low<kDistance>(a, b);
      rows[g + kDistance] = AllLanes::merge_high<kDistance>(a, b);
    }
    exchange<2 * kDistance>(rows);
  }
}

// Transposes a kLanes x kLanes block: row i of `out` (stride out_stride floats) is column i of `in`.
static inline void transpose_block(const float* in, int64_t in_stride, float* out, int64_t out_stride) {
  Vec rows[kLanes];
  MSDK_EACH(kLanes) rows[g] = load(in + g * in_stride);
  exchange<1>(rows);
  MSDK_EACH(kLanes) store(out + g * out_stride, rows[g]);
}
