// Shared by the tests of the CPU kernels: threads to run on, numbers, a comparison with a reference in double, and
// every kernel set of this processor.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cpu/kernels.h"
#include "ops/conv3d/cpu.h"
#include "ops/conv_transpose3d/cpu.h"
#include "ops/directional_conv1d/cpu.h"
#include "ops/kan_linear/cpu.h"
#include "ops/selective_scan/cpu.h"
#include "ops/token_norm/cpu.h"
#include "ops/trilinear_upsample/cpu.h"

namespace msdk::cpu::lanes16 {
extern const Kernels kKernels;  // 16 lanes without AVX-512 instructions
}

namespace msdk::test {

inline int failures = 0;

struct Threads {
  int count;
};

// One thread is this one, whose scratch memory still holds what an earlier run left in it.
inline void run_on_threads(void* pool, cpu::Parallel::Body body, size_t total, void* data) {
  if (static_cast<Threads*>(pool)->count == 1) {
    for (size_t index = 0; index < total; ++index) body(data, index);
    return;
  }
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < static_cast<Threads*>(pool)->count; ++i) {
    threads.emplace_back([&] {
      for (size_t index = next++; index < total; index = next++) body(data, index);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

using Floats = std::vector<float>;

inline Floats uniform(std::mt19937& rng, int64_t count, float low, float high) {
  std::uniform_real_distribution<float> draw(low, high);
  Floats values(static_cast<size_t>(count));
  for (float& value : values) value = draw(rng);
  return values;
}

// Norms that leave numbers about `mean`, at most 1 away from it, at most 1 in size.
inline std::vector<Normalisation> random_norms(std::mt19937& rng, int64_t count, float mean) {
  std::vector<Normalisation> norms;
  for (int64_t i = 0; i < count; ++i) {
    const Floats draws = uniform(rng, 3, -1, 1);
    norms.push_back({mean + 0.1f * draws[0], 1e-8f * draws[1], 0.6f + 0.1f * draws[2], 0.2f * draws[0]});
  }
  return norms;
}

inline double normed(const Normalisation& n, float slope, float x) {
  const double y = (x - double(n.high) - double(n.low)) * double(n.scale) + double(n.shift);
  return y > 0 ? y : y * double(slope);
}

// The largest difference over the largest value, or over `largest`; infinite where anything is not finite, the poison
// included.
inline double relative_error(const Floats& actual, const std::vector<double>& expected, double largest = 1e-30) {
  double difference = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(actual[i])) return std::numeric_limits<double>::infinity();
    difference = std::max(difference, std::fabs(actual[i] - expected[i]));
    largest = std::max(largest, std::fabs(expected[i]));
  }
  return difference / largest;
}

inline void expect_close(const char* op, const char* isa, const std::string& what, double error, double limit) {
  if (error <= limit) return;
  std::printf("FAILED %s [%s] %s: relative error %.3g, allowed %.3g\n", op, isa, what.c_str(), error, limit);
  ++failures;
}

// The `size` numbers that run(y) writes over poison, twice the same bit for bit.
template <class F>
Floats run_twice(const char* op, const char* isa, const std::string& what, size_t size, F&& run) {
  Floats y(size), again(size);
  for (Floats* out : {&y, &again}) {
    std::fill(out->begin(), out->end(), std::numeric_limits<float>::quiet_NaN());
    run(out->data());
  }
  if (std::memcmp(y.data(), again.data(), size * sizeof(float)) != 0) {
    std::printf("FAILED %s [%s] %s: a second run differs\n", op, isa, what.c_str());
    ++failures;
  }
  return y;
}

// Numbers that tell a case.
inline std::string text_of(std::initializer_list<int64_t> numbers) {
  std::string text;
  for (const int64_t number : numbers) text += std::to_string(number) + " ";
  return text;
}

// Says how it went; the program's exit code.
inline int finish() {
  std::printf("%s\n", failures ? "FAILED" : "passed");
  return failures ? 1 : 0;
}

template <class F>
void for_each_kernel_set(F&& f) {
  const cpu::KernelSets sets = cpu::available_kernels();
  for (int i = 0; i < sets.count; ++i) f(*sets.items[i]);
  f(cpu::lanes16::kKernels);
}

}  // namespace msdk::test
