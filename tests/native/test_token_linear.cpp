// token_linear of every kernel set against a reference in double: channels and outputs around the sizes of blocks,
// tokens around those of vectors and tasks, tensors that end where a sanitizer sees the next byte, outputs poisoned,
// every run repeated bit for bit.

#include "kernel_fixture.h"
#include "ops/token_linear/cpu.h"

using namespace msdk;
using namespace msdk::test;

namespace {

struct Case {
  int64_t batch, sets, in_channels, out_channels, length;
};

std::vector<double> reference(const TokenLinearArgs& a) {
  std::vector<double> y;
  for (int64_t set = 0; set < a.batch * a.sets; ++set) {
    for (int64_t o = 0; o < a.out_channels; ++o) {
      const int64_t row = set % a.sets * a.out_channels + o;
      for (int64_t l = 0; l < a.length; ++l) {
        double sum = a.bias ? a.bias[row] : 0;
        if (a.addend) sum += a.addend[y.size()];
        for (int64_t c = 0; c < a.in_channels; ++c) {
          sum += double(a.weight[row * a.in_channels + c]) * a.x[(set * a.in_channels + c) * a.length + l];
        }
        y.push_back(sum);
      }
    }
  }
  return y;
}

void test(const cpu::Kernels& isa, const Case& c, bool has_bias, bool has_addend, int threads) {
  std::mt19937 rng(12);
  TokenLinearArgs a{};
  a.batch = c.batch, a.sets = c.sets, a.in_channels = c.in_channels, a.out_channels = c.out_channels;
  a.length = c.length;
  const Floats x = uniform(rng, c.batch * c.sets * c.in_channels * c.length, -1, 1);
  const Floats weight = uniform(rng, c.sets * c.out_channels * c.in_channels, -1, 1);
  const Floats bias = uniform(rng, c.sets * c.out_channels, -1, 1);
  const Floats addend = uniform(rng, c.batch * c.sets * c.out_channels * c.length, -1, 1);
  a.x = x.data(), a.weight = weight.data();
  a.bias = has_bias ? bias.data() : nullptr, a.addend = has_addend ? addend.data() : nullptr;
  const Floats packed = cpu::pack_token_linear(a, isa);

  Threads pool{std::min(threads, 3)};
  const cpu::Parallel parallel(run_on_threads, &pool, threads);
  const std::string what =
      text_of({c.batch, c.sets, c.in_channels, c.out_channels, c.length, has_bias, has_addend, threads});
  const Floats y = run_twice("token_linear", isa.name, what, addend.size(), [&](float* out) {
    a.y = out;
    cpu::token_linear(a, packed.data(), parallel, isa);
  });
  expect_close("token_linear", isa.name, what, relative_error(y, reference(a)), 5e-7);
}

void test_all(const cpu::Kernels& isa) {
  const Case cases[] = {
      {1, 1, 1, 1, 1},   {2, 1, 3, 5, 7},   {1, 2, 16, 17, 49},  {2, 3, 17, 18, 33},  {1, 1, 8, 4, 1000},
      {1, 1, 31, 8, 97}, {1, 2, 5, 20, 16}, {1, 1, 100, 23, 48}, {1, 1, 520, 9, 101}, {1, 4, 2, 6, 800},
  };
  int count = 0;
  for (const Case& c : cases) {
    for (const int threads : {1, 3}) {
      test(isa, c, count % 2 == 0, count % 3 == 0, threads);
      ++count;
    }
  }
  std::printf("%s: %d cases done\n", isa.name, count);
}

}  // namespace

int main() {
  for_each_kernel_set(test_all);
  return finish();
}
