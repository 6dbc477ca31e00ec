// Arithmetic of sizes that ends at kTooLarge where int64 would overflow: a launch or a workspace of that size is
// refused by whoever is asked for it. No size is negative.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace msdk::cuda {

constexpr int64_t kTooLarge = INT64_MAX;

inline int64_t product(std::initializer_list<int64_t> sizes) {
  int64_t all = 1;
  for (const int64_t size : sizes) {
    if (size == 0) return 0;
    all = all > kTooLarge / size ? kTooLarge : all * size;
  }
  return all;
}

inline int64_t sum(int64_t a, int64_t b) { return a > kTooLarge - b ? kTooLarge : a + b; }

inline int64_t divide_up(int64_t a, int64_t b) { return a / b + (a % b != 0); }

}  // namespace msdk::cuda
