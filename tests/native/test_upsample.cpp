// trilinear_upsample of every kernel set against a reference in double: rows shorter than a vector and longer, planes
// cut into tasks in many ways, tensors that end where a sanitizer sees the next byte, outputs poisoned, every run
// repeated bit for bit.

#include <algorithm>
#include <cstring>

#include "kernel_fixture.h"

using namespace msdk;
using namespace msdk::test;

namespace {

struct Case {
  int64_t batch, channels, sides[3];
};

std::vector<double> reference(const TrilinearUpsampleArgs& a) {
  const int64_t depth = a.in[0], height = a.in[1], width = a.in[2];
  std::vector<double> y;
  for (int64_t p = 0; p < a.batch * a.channels * 8 * depth * height * width; ++p) {
    const int64_t channel = p / (8 * depth * height * width);
    const int64_t at[3] = {p / (4 * height * width) % (2 * depth), p / (2 * width) % (2 * height), p % (2 * width)};
    double sum = a.addend ? a.addend[p] : 0;
    for (int corner = 0; corner < 8; ++corner) {
      double share = 1;
      int64_t from = channel;
      for (int axis = 0; axis < 3; ++axis) {
        const bool far = corner >> axis & 1;
        const int64_t i = at[axis] / 2 + (far ? (at[axis] % 2 ? 1 : -1) : 0);
        from = from * a.in[axis] + std::clamp<int64_t>(i, 0, a.in[axis] - 1);
        share *= far ? 0.25 : 0.75;
      }
      sum += share * a.x[from];
    }
    y.push_back(sum);
  }
  return y;
}

void test(const cpu::Kernels& isa, const Case& c, bool has_addend, int threads) {
  std::mt19937 rng(12);
  const int64_t voxels = c.batch * c.channels * c.sides[0] * c.sides[1] * c.sides[2];
  const Floats x = uniform(rng, voxels, -1, 1), addend = uniform(rng, 8 * voxels, -1, 1);
  TrilinearUpsampleArgs a{};
  a.batch = c.batch, a.channels = c.channels;
  std::copy_n(c.sides, 3, a.in);
  a.x = x.data(), a.addend = has_addend ? addend.data() : nullptr;

  Threads pool{std::min(threads, 3)};
  const cpu::Parallel parallel(run_on_threads, &pool, threads);
  const std::string what = text_of({c.batch, c.channels, c.sides[0], c.sides[1], c.sides[2], threads});
  const Floats y = run_twice("trilinear_upsample", isa.name, what, addend.size(), [&](float* out) {
    a.y = out;
    cpu::trilinear_upsample(a, parallel, isa);
  });
  expect_close("trilinear_upsample", isa.name, what, relative_error(y, reference(a)), 2e-7);
}

void test_all(const cpu::Kernels& isa) {
  const Case cases[] = {
      {1, 1, {1, 1, 1}}, {2, 3, {2, 3, 1}},  {1, 2, {3, 1, 2}},  {1, 1, {1, 4, 3}},  {2, 1, {5, 2, 7}},
      {1, 3, {2, 2, 8}}, {1, 2, {3, 5, 15}}, {2, 2, {1, 3, 16}}, {1, 1, {4, 3, 17}}, {1, 5, {24, 23, 33}},
  };
  int count = 0;
  for (const Case& c : cases) {
    for (const int threads : {1, 3, 64}) {
      for (const bool has_addend : {false, true}) {
        test(isa, c, has_addend, threads);
        ++count;
      }
    }
  }
  std::printf("%s: %d cases done\n", isa.name, count);
}

}  // namespace

int main() {
  for_each_kernel_set(test_all);
  return finish();
}
