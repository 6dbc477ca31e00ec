// Sums in float16 of every kernel set against numbers rounded one by one: subnormal ones, ties, infinities; widths
// below a vector and above, and boxes inside a larger tensor, which stays as it was around them.

#include "resampling/sums.h"

#include "kernel_fixture.h"

using namespace msdk;
using namespace msdk::test;

namespace {

// To the nearest multiple of float16's step at this magnitude, ties to even; by the division in double, which is exact.
float in_half(float value) {
  if (!std::isfinite(value)) return value;
  int exponent;
  std::frexp(value, &exponent);
  const double step = std::ldexp(1.0, std::max(exponent - 11, -24));
  const double rounded = std::nearbyint(static_cast<double>(value) / step) * step;
  if (std::fabs(rounded) > 65504) return std::copysign(std::numeric_limits<float>::infinity(), value);
  return static_cast<float>(rounded);
}

float product_of(float x, float y) {
  volatile float product = x * y;
  return product;
}

bool same(float x, float y) { return x == y || (std::isnan(x) && std::isnan(y)); }

void expect(bool right, const char* what, const char* isa, int64_t width, float scale) {
  if (right) return;
  std::printf("FAILED %s [%s] width %lld scale %g\n", what, isa, static_cast<long long>(width), scale);
  ++failures;
}

void test_rows(const cpu::Kernels& isa, std::mt19937& rng, int64_t width, float scale) {
  Floats sums = uniform(rng, width, -scale, scale), weights = uniform(rng, width, 0, 10);
  const Floats values = uniform(rng, width, -scale, scale);
  for (float& sum : sums) sum = in_half(sum);
  for (float& weight : weights) weight = in_half(weight) + 1e-7f;
  Floats found = sums, added(width), divided(width);
  bool finite = true, still = true;
  for (int64_t i = 0; i < width; ++i) {
    added[i] = in_half(sums[i] + product_of(values[i], weights[i]));
    divided[i] = in_half(added[i] / weights[i]);
    finite = finite && std::isfinite(added[i]);
    still = still && std::isfinite(divided[i]);
  }
  const auto equal = [&](const Floats& expected) {
    for (int64_t i = 0; i < width; ++i) {
      if (!same(found[i], expected[i])) return false;
    }
    return true;
  };
  expect(isa.sums.add_row(found.data(), values.data(), weights.data(), width) == finite, "finite sums", isa.name, width,
         scale);
  expect(equal(added), "sums", isa.name, width, scale);
  expect(isa.sums.divide_row(found.data(), weights.data(), width) == still, "finite results", isa.name, width, scale);
  expect(equal(divided), "results", isa.name, width, scale);
}

// Numbers just between two of float16, and next to those.
void test_ties(const cpu::Kernels& isa) {
  Floats values;
  for (int exponent = -26; exponent < 17; ++exponent) {
    for (int half_steps = 2048; half_steps < 4096; half_steps += 37) {
      const float tie = std::ldexp(static_cast<float>(half_steps | 1), exponent - 11);
      for (const float value : {tie, std::nextafter(tie, 0.0f), std::nextafter(tie, 1e9f)}) {
        values.push_back(value), values.push_back(-value);
      }
    }
  }
  const int64_t count = static_cast<int64_t>(values.size());
  Floats sums(count, 0), ones(count, 1);
  isa.sums.add_row(sums.data(), values.data(), ones.data(), count);
  for (int64_t i = 0; i < count; ++i) expect(same(sums[i], in_half(values[i])), "a tie", isa.name, i, values[i]);
}

void test_what_is_not_finite(const cpu::Kernels& isa) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    for (int64_t at = 0; at < 37; ++at) {
      Floats sums(37, 1), values(37, 1), weights(37, 0);
      values[at] = bad;
      expect(!isa.sums.add_row(sums.data(), values.data(), weights.data(), 37), "a bad value", isa.name, at, bad);
    }
  }
}

// The C interface: a box inside a tensor, on one thread and on three.
void test_box() {
  std::mt19937 rng(7);
  const int64_t tensor[] = {3, 6, 7, 20}, side[] = {3, 2, 5, 17};
  const Floats values = uniform(rng, 3 * 2 * 5 * 17, -1, 1), weights = uniform(rng, 2 * 5 * 17, 0.5, 1);
  for (const int threads : {1, 3}) {
    Floats sums(3 * 6 * 7 * 20, 7), expected = sums;
    const int64_t first = (1 * tensor[2] + 2) * tensor[3] + 3;
    for (int64_t k = 0; k < side[0]; ++k) {
      for (int64_t row = 0; row < side[1] * side[2]; ++row) {
        for (int64_t w = 0; w < side[3]; ++w) {
          const int64_t of_channel = row * side[3] + w;
          float& sum = expected[first + ((k * 6 + row / side[2]) * 7 + row % side[2]) * 20 + w];
          sum = in_half(7 + product_of(values[k * side[1] * side[2] * side[3] + of_channel], weights[of_channel]));
          sum = in_half(sum / weights[of_channel]);
        }
      }
    }
    const MsdkSums box{side[0], side[1], side[2], side[3], 6 * 7 * 20, 7 * 20, 20, sums.data() + first, threads};
    expect(msdk_add_in_half(&box, values.data(), weights.data()) == 1, "a box", "library", threads, 1);
    expect(msdk_divide_in_half(&box, weights.data()) == 1, "a box", "library", threads, 1);
    expect(sums == expected, "sums of a box", "library", threads, 1);
  }
}

}  // namespace

int main() {
  for_each_kernel_set([](const cpu::Kernels& isa) {
    std::mt19937 rng(5);
    for (const float scale : {1.0f, 30.0f, 1e-4f, 1e-7f, 6e4f}) {
      for (int64_t width = 1; width < 70; ++width) test_rows(isa, rng, width, scale);
    }
    test_ties(isa);
    test_what_is_not_finite(isa);
  });
  test_box();
  return finish();
}
