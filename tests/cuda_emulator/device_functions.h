// Barriers, warp collectives, atomics and intrinsics of the emulator. Included by cuda_runtime.h.
#pragma once

namespace cuda_emulator {

#define CUDA_EMULATOR_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

template <class T>
uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

template <class T>
T from_bits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// `source` counts from the first lane of the segment of `width` lanes; out of it, a lane reads itself.
template <class T>
T shuffle(unsigned mask, T value, int source, int width, bool wrap, Site site) {
  const int first = lane() / width * width;
  if (wrap) source = (source % width + width) % width;
  const int from = source >= 0 && source < width ? first + source : lane();
  return from_bits<T>(warp_collective(WarpOp::shuffle, mask, to_bits(value), from, site));
}

// A right result of an approximate instruction, made wrong by as much as the PTX ISA allows: within 2^-22 of it, by a
// hash of the operand, so that it is the same on every run. Results below 2^-126 are 0.
inline float approximate(float exact, float operand) {
  if (!std::isfinite(exact)) return exact;
  if (std::fabs(exact) < 0x1p-126f) return 0.0f;
  const uint64_t hash = to_bits(operand) * 0x9e3779b97f4a7c15u >> 40;  // 24 bits
  return exact + exact * (static_cast<float>(hash) * 0x1p-23f - 1.0f) * 0x1p-22f;
}

inline float ex2_approx(float x) { return x == 0.0f ? 1.0f : approximate(std::exp2(x), x); }

// An atomic operation is also a moment at which another block may run.
template <class T, class F>
T atomic(T* address, F&& change) {
  let_others_run();
  atomic_access(address);
  T old;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  T changed = change(old);
  __atomic_store(address, &changed, __ATOMIC_RELAXED);
  return old;
}

}  // namespace cuda_emulator

inline void __syncthreads(CUDA_EMULATOR_SITE) { cuda_emulator::block_barrier({file, line}); }
inline int __syncthreads_count(int predicate, CUDA_EMULATOR_SITE) {
  return static_cast<int>(cuda_emulator::block_barrier_count(predicate != 0, {file, line}));
}
inline int __syncthreads_or(int predicate, CUDA_EMULATOR_SITE) {
  return cuda_emulator::block_barrier_count(predicate != 0, {file, line}) != 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, CUDA_EMULATOR_SITE) {
  cuda_emulator::warp_collective(cuda_emulator::WarpOp::sync, mask, 0, 0, {file, line});
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUDA_EMULATOR_SITE) {
  return cuda_emulator::shuffle(mask, value, source, width, true, {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_EMULATOR_SITE) {
  return cuda_emulator::shuffle(mask, value, cuda_emulator::lane() % width - static_cast<int>(delta), width, false,
                                {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_EMULATOR_SITE) {
  return cuda_emulator::shuffle(mask, value, cuda_emulator::lane() % width + static_cast<int>(delta), width, false,
                                {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, CUDA_EMULATOR_SITE) {
  return cuda_emulator::shuffle(mask, value, (cuda_emulator::lane() % width) ^ lanes, width, false, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_EMULATOR_SITE) {
  const uint64_t bit = predicate ? uint64_t{1} << cuda_emulator::lane() : 0;
  return static_cast<unsigned>(
      cuda_emulator::warp_collective(cuda_emulator::WarpOp::ballot, mask, bit, 0, {file, line}));
}
inline int __any_sync(unsigned mask, int predicate, CUDA_EMULATOR_SITE) {
  return __ballot_sync(mask, predicate, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CUDA_EMULATOR_SITE) {
  return __ballot_sync(mask, !predicate, file, line) == 0;
}

inline void __threadfence() { cuda_emulator::fence(); }
inline void __nanosleep(unsigned) { cuda_emulator::let_others_run(); }

template <class T>
T atomicAdd(T* address, std::common_type_t<T> value) {
  return cuda_emulator::atomic(address, [&](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicMax(T* address, std::common_type_t<T> value) {
  return cuda_emulator::atomic(address, [&](T old) { return std::max(old, value); });
}
template <class T>
T atomicMin(T* address, std::common_type_t<T> value) {
  return cuda_emulator::atomic(address, [&](T old) { return std::min(old, value); });
}
template <class T>
T atomicOr(T* address, std::common_type_t<T> value) {
  return cuda_emulator::atomic(address, [&](T old) { return old | value; });
}
template <class T>
T atomicAnd(T* address, std::common_type_t<T> value) {
  return cuda_emulator::atomic(address, [&](T old) { return old & value; });
}
template <class T>
T atomicExch(T* address, std::common_type_t<T> value) {
  return cuda_emulator::atomic(address, [&](T) { return value; });
}
template <class T>
T atomicCAS(T* address, std::common_type_t<T> expected, std::common_type_t<T> value) {
  return cuda_emulator::atomic(address, [&](T old) { return old == expected ? value : old; });
}

template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
void __stcg(T* address, T value) {
  *address = value;
}
template <class T>
void __stcs(T* address, T value) {
  *address = value;
}

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __fdividef(float x, float y) { return cuda_emulator::approximate(x / y, y); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float __saturatef(float x) { return x > 0.0f ? std::min(x, 1.0f) : 0.0f; }
inline float __int_as_float(int bits) { return cuda_emulator::from_bits<float>(cuda_emulator::to_bits(bits)); }
inline int __float_as_int(float x) { return cuda_emulator::from_bits<int>(cuda_emulator::to_bits(x)); }
inline float __uint_as_float(unsigned bits) { return cuda_emulator::from_bits<float>(cuda_emulator::to_bits(bits)); }
inline unsigned __float_as_uint(float x) { return cuda_emulator::from_bits<unsigned>(cuda_emulator::to_bits(x)); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
using std::max;
using std::min;

// glibc declares functions of these names and does not define them.
#define __expf(x) std::exp(static_cast<float>(x))
#define __exp2f(x) std::exp2(static_cast<float>(x))
#define __logf(x) std::log(static_cast<float>(x))
#define __log2f(x) std::log2(static_cast<float>(x))
#define __sinf(x) std::sin(static_cast<float>(x))
#define __cosf(x) std::cos(static_cast<float>(x))
#define __powf(x, y) std::pow(static_cast<float>(x), static_cast<float>(y))
