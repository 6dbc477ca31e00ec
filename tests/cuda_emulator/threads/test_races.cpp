// The emulator under ThreadSanitizer: races between the threads of a kernel are reported, flags without fences among
// them, in whatever order the threads run; what barriers, fences and launches order is not.

#include <numeric>
#include <string>
#include <vector>

#include "../tests/expect.h"
#include "../tests/kernels.h"
#include "emulator.h"

// ThreadSanitizer asks the program for its options by this name: the first race ends it.
extern "C" const char* __tsan_default_options() { return "halt_on_error=1:exitcode=66"; }

namespace {

constexpr int kBlocks = 6;

void look_back(kernels::Fences fences) {
  const std::vector<int> values(kBlocks, 3);
  std::vector<int> prefix(kBlocks, -1), flags(kBlocks, 0);
  int ticket = 0;
  kernels::look_back(values.data(), prefix.data(), flags.data(), &ticket, kBlocks, fences);
  for (int block = 0; block < kBlocks; ++block) expect(prefix[block] == 3 * (block + 1), "look-back");
}

void last_block(bool fenced) {
  std::vector<int> parts(32 * kBlocks, -1);
  int ticket = 0, sum = -1;
  kernels::last_block(parts.data(), &ticket, &sum, kBlocks, fenced);
  expect(sum == 32 * kBlocks * (32 * kBlocks - 1) / 2, "sum of the last block");
}

void hand_on(bool synchronized) {
  std::vector<int> out(32, -1);
  kernels::hand_on(out.data(), synchronized);
}

void write_together(unsigned apart) {
  std::vector<int> out(2, 0);
  kernels::write_together(out.data(), apart);
}

void missing_barrier() {
  std::vector<int> out(64, 0);
  kernels::missing_barrier(out.data());
}

// Kernels whose threads share memory in every way that is allowed: any report here ends the program.
void test_ordered() {
  std::vector<float> x(7 * 96), sums(7);
  std::iota(x.begin(), x.end(), 1.0f);
  for (int run = 0; run < 2; ++run) {  // launches follow one another, on the same memory
    kernels::block_sums(x.data(), sums.data(), 7, 96);
    for (int b = 0; b < 7; ++b) expect(sums[b] == 96.0f * (96 * b + 48.5f), "block sums");
  }
  std::vector<int> reversed(40);
  std::iota(reversed.begin(), reversed.end(), 0);
  kernels::dynamic_reverse(reversed.data(), 40);
  for (int i = 0; i < 40; ++i) expect(reversed[i] == 39 - i, "dynamic shared memory");
  std::vector<int> out(50, -1);
  kernels::early_exit(out.data(), 50);
  std::vector<float> a(16 * 16, 1.0f), b(16 * 8, 2.0f), product(16 * 8);
  kernels::small_product(a.data(), b.data(), product.data(), false);
  expect(product[0] == 32.0f, "product on tensor cores");
  look_back({});
  last_block(true);
  hand_on(true);
  write_together(1);
}

void test_races(const std::string& order) {
  const auto expect_race = [&](const char* name, const std::function<void()>& body) {
    expect_report((name + (", " + order)).c_str(), "ThreadSanitizer: data race", body);
  };
  expect_race("a flag set without a fence", [] { look_back({false, true}); });
  expect_race("data read after a flag without a fence", [] { look_back({true, false}); });
  expect_race("parts of other blocks added without a fence", [] { last_block(false); });
  expect_race("a shuffle taken for a barrier", [] { hand_on(false); });
  expect_race("two blocks write one place", [] { write_together(0); });
  expect_race("a missing barrier", missing_barrier);
}

}  // namespace

int main() {
  cuda_emulator::run_in_launch_order();
  test_ordered();
  for (const unsigned seed : {1, 2}) {
    cuda_emulator::run_shuffled(seed);
    test_ordered();
    test_races("shuffled " + std::to_string(seed));
  }
  std::printf("%s\n", failures ? "FAILED" : "passed");
  return failures ? 1 : 0;
}
