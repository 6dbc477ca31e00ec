// The emulator itself: right kernels give right results in every order, wrong ones are reported with file and line.

#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "cuda_fp16.h"
#include "emulator.h"
#include "expect.h"
#include "kernels.h"

namespace {

// How many elements of a 16 by 8 product are not exact.
int wrong_elements(bool faulty) {
  std::vector<float> a(16 * 16), b(16 * 8), sums(16 * 8, NAN);
  for (int i = 0; i < 256; ++i) a[i] = static_cast<float>(i * 7 % 19 - 9);
  for (int i = 0; i < 128; ++i) b[i] = static_cast<float>(i * 5 % 23 - 11);
  kernels::small_product(a.data(), b.data(), sums.data(), faulty);
  int wrong = 0;
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float sum = 0;
      for (int k = 0; k < 16; ++k) sum += a[16 * row + k] * b[8 * k + column];
      wrong += sums[8 * row + column] != sum;
    }
  }
  return wrong;
}

void test_right_kernels(const std::string& order) {
  std::vector<float> x(7 * 96), sums(7, NAN);
  std::iota(x.begin(), x.end(), 1.0f);
  kernels::block_sums(x.data(), sums.data(), 7, 96);
  for (int b = 0; b < 7; ++b) expect(sums[b] == 96.0f * (96 * b + 48.5f), "block sums, ", order);

  for (const int lanes : {1, 5, 32}) {
    std::vector<int> values(lanes, 2), prefix(lanes, -1);
    kernels::warp_prefix(values.data(), prefix.data(), lanes);
    for (int i = 0; i < lanes; ++i) expect(prefix[i] == 2 * (i + 1), "warp prefix, ", order);
  }

  std::vector<int> values(20, 3), prefix(20, -1), flags(20, 0);
  int ticket = 0;
  kernels::look_back(values.data(), prefix.data(), flags.data(), &ticket, 20);
  for (int b = 0; b < 20; ++b) expect(prefix[b] == 3 * (b + 1), "look-back, ", order);

  std::vector<int> out(50, -1);
  kernels::early_exit(out.data(), 50);
  for (int i = 0; i < 50; ++i) expect(out[i] == (i % 3 == 0 ? -1 : i), "early exit, ", order);

  std::vector<int> reversed(40);
  std::iota(reversed.begin(), reversed.end(), 0);
  kernels::dynamic_reverse(reversed.data(), 40);
  for (int i = 0; i < 40; ++i) expect(reversed[i] == 39 - i, "dynamic shared memory, ", order);

  std::vector<int> numbers(2 * 3 * 2 * 30, -1);
  kernels::thread_numbers(numbers.data());
  for (int i = 0; i < static_cast<int>(numbers.size()); ++i) expect(numbers[i] == i, "thread numbers, ", order);

  expect(wrong_elements(false) == 0, "product on tensor cores, ", order);
  expect(wrong_elements(true) > 0, "product on tensor cores with rows exchanged, ", order);

  std::vector<float> unwritten(32, 0);
  kernels::reads_unwritten_shared(unwritten.data());
  for (const float value : unwritten) expect(std::isnan(value), "shared memory is poisoned, ", order);

  const std::vector<float> added = {1.0f, 1.0f};
  std::vector<float> forgotten(2, NAN);
  kernels::forgotten_local(added.data(), forgotten.data(), 2);
  expect(std::fabs(forgotten[0]) > 1e30f && forgotten[1] == 1.0f, "a local that is never set shows, ", order);

  std::vector<int> powers(16, -1);
  kernels::powers_of_two(powers.data());
  bool as_if_exact = true;
  for (int i = 0; i < 16; ++i) as_if_exact = as_if_exact && powers[i] == 1 << i;
  expect(!as_if_exact, "an approximation that is taken for exact shows, ", order);

  std::vector<int> raced(64, 0);
  kernels::missing_barrier(raced.data());
  bool as_with_a_barrier = true;
  for (int i = 0; i < 64; ++i) as_with_a_barrier = as_with_a_barrier && raced[i] == 63 - i;
  expect(!as_with_a_barrier, "a missing barrier shows, ", order);
}

void test_wrong_kernels() {
  expect_report("divergent barrier", "kernels.cu:", kernels::divergent_barrier);
  expect_report("divergent barrier", "none can go on", kernels::divergent_barrier);
  expect_report("two barriers", "is at this __syncthreads while thread 0 is at the one of", kernels::two_barriers);
  expect_report("shuffle", "which takes no part in this shuffle", kernels::shuffle_from_an_exited_lane);
  expect_report("endless spin", "endless spin", [] {
    int flag = 0;
    kernels::endless_spin(&flag);
  });
#ifdef __SANITIZE_ADDRESS__
  expect_report("shared memory overflow", "heap-buffer-overflow", kernels::shared_overflow);
#endif
}

// Every float16 to float and back, and floats around the places where rounding turns.
void test_half() {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const float value = __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
    const int exponent = static_cast<int>(bits >> 10 & 31), fraction = static_cast<int>(bits & 1023);
    const float sign = bits & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31) {
      expect(fraction ? std::isnan(value) : value == sign * INFINITY, "half infinity and NaN");
      continue;
    }
    const double exact = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    expect(value == sign * exact, "half to float");
    expect(__half_as_ushort(__float2half_rn(value)) == bits, "half to float and back");
    if (exponent == 30 && fraction == 1023) continue;
    // Halfway to the next value: to even; a little more or less: to the nearer.
    const float next = __half2float(__ushort_as_half(static_cast<unsigned short>(bits + 1)));
    const float middle = value + (next - value) / 2;
    const unsigned even = bits & 1 ? bits + 1 : bits;
    expect(__half_as_ushort(__float2half_rn(middle)) == even, "a tie rounds to even");
    expect(__half_as_ushort(__float2half_rn(std::nextafterf(middle, value))) == bits, "below a tie");
    expect(__half_as_ushort(__float2half_rn(std::nextafterf(middle, next))) == bits + 1, "above a tie");
  }
  expect(__half_as_ushort(__float2half_rn(65519.0f)) == 0x7bff, "65519 is the largest half");
  expect(__half_as_ushort(__float2half_rn(65520.0f)) == 0x7c00, "65520 is infinite");
  expect(__half_as_ushort(__float2half_rn(-1e30f)) == 0xfc00, "-1e30 is infinite");
}

}  // namespace

int main() {
  test_half();
  cuda_emulator::run_in_launch_order();
  test_right_kernels("launch order");
  for (const unsigned seed : {1, 2, 3, 4, 5}) {
    cuda_emulator::run_shuffled(seed);
    test_right_kernels("shuffled " + std::to_string(seed));
  }
  cuda_emulator::run_in_launch_order();
  test_wrong_kernels();
  std::printf("%s\n", failures ? "FAILED" : "passed");
  return failures ? 1 : 0;
}
