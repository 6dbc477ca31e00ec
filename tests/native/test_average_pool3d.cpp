// average_pool3d of every kernel set against a reference in double: rows shorter than a vector and longer, voxels that
// no box has, rows cut into tasks in many ways, tensors that end where a sanitizer sees the next byte, outputs
// poisoned, every run repeated bit for bit.

#include <algorithm>
#include <cstring>

#include "kernel_fixture.h"
#include "ops/average_pool3d/cpu.h"

using namespace msdk;
using namespace msdk::test;

namespace {

struct Case {
  int64_t batch, channels, sides[3];
};

int64_t boxes(const AveragePool3dArgs& a) {
  int64_t count = a.batch * a.channels;
  for (int axis = 0; axis < 3; ++axis) count *= a.in[axis] / a.kernel[axis];
  return count;
}

std::vector<double> reference(const AveragePool3dArgs& a) {
  std::vector<double> y;
  const int64_t out[3] = {a.in[0] / a.kernel[0], a.in[1] / a.kernel[1], a.in[2] / a.kernel[2]};
  const int64_t voxels = a.kernel[0] * a.kernel[1] * a.kernel[2];
  for (int64_t p = 0; p < boxes(a); ++p) {
    const int64_t at[3] = {p / (out[1] * out[2]) % out[0], p / out[2] % out[1], p % out[2]};
    double sum = 0;
    for (int64_t v = 0; v < voxels; ++v) {
      const int64_t in_box[3] = {v / (a.kernel[1] * a.kernel[2]), v / a.kernel[2] % a.kernel[1], v % a.kernel[2]};
      int64_t from = p / (out[0] * out[1] * out[2]);
      for (int axis = 0; axis < 3; ++axis) from = from * a.in[axis] + at[axis] * a.kernel[axis] + in_box[axis];
      sum += a.x[from];
    }
    y.push_back(sum / static_cast<double>(voxels));
  }
  return y;
}

// The mean, on as many threads as are given.
Floats run(const cpu::Kernels& isa, AveragePool3dArgs a, const std::string& what, int threads) {
  Threads pool{std::min(threads, 3)};
  const cpu::Parallel parallel(run_on_threads, &pool, threads);
  return run_twice("average_pool3d", isa.name, what, static_cast<size_t>(boxes(a)), [&](float* out) {
    a.y = out;
    cpu::average_pool3d(a, parallel, isa);
  });
}

void test(const cpu::Kernels& isa, const Case& c, int kernel) {
  std::mt19937 rng(12);
  const Floats x = uniform(rng, c.batch * c.channels * c.sides[0] * c.sides[1] * c.sides[2], -1, 1);
  AveragePool3dArgs a{c.batch, c.channels, {}, {}, x.data(), nullptr};
  for (int axis = 0; axis < 3; ++axis) {
    a.in[axis] = c.sides[axis];
    a.kernel[axis] = std::min<int64_t>(1 + (kernel >> axis & 1), a.in[axis]);
  }
  const std::string what =
      text_of({a.batch, a.channels, a.in[0], a.in[1], a.in[2], a.kernel[0], a.kernel[1], a.kernel[2]});
  const Floats y = run(isa, a, what, 1);
  expect_close("average_pool3d", isa.name, what, relative_error(y, reference(a)), 2e-7);
  for (const int threads : {3, 64}) {
    if (std::memcmp(run(isa, a, what, threads).data(), y.data(), y.size() * sizeof(float)) != 0) {
      std::printf("FAILED average_pool3d [%s] %s: %d threads differ from one\n", isa.name, what.c_str(), threads);
      ++failures;
    }
  }
}

// More than the caches are taken to hold, whole vectors: stored past them where y is aligned, and the same.
void test_past_caches(const cpu::Kernels& isa) {
  AveragePool3dArgs a{1, 7, {15, 480, 256}, {1, 1, 2}, nullptr, nullptr};
  Floats x(static_cast<size_t>(2 * boxes(a)));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 1013);
  a.x = x.data();
  const auto count = static_cast<size_t>(boxes(a));
  Threads pool{3};
  const cpu::Parallel parallel(run_on_threads, &pool, 3);
  Floats room(count + 32), y(count);
  const auto aligned = (reinterpret_cast<uintptr_t>(room.data()) + 63) / 64 * 64;
  for (const int shift : {0, 1}) {
    std::fill(room.begin(), room.end(), std::numeric_limits<float>::quiet_NaN());
    a.y = reinterpret_cast<float*>(aligned) + shift;
    cpu::average_pool3d(a, parallel, isa);
    if (!std::isnan(a.y[count])) {
      std::printf("FAILED average_pool3d [%s]: written behind y\n", isa.name);
      ++failures;
    }
    if (shift == 0) std::copy_n(a.y, count, y.begin());
  }
  if (std::memcmp(a.y, y.data(), count * sizeof(float)) != 0) {
    std::printf("FAILED average_pool3d [%s]: what is stored past the caches differs\n", isa.name);
    ++failures;
  }
  expect_close("average_pool3d", isa.name, "past the caches", relative_error(y, reference(a)), 2e-7);
}

void test_all(const cpu::Kernels& isa) {
  const Case cases[] = {
      {1, 1, {1, 1, 1}},  {1, 1, {2, 2, 2}},   {2, 3, {2, 3, 1}},    {1, 2, {3, 1, 2}},    {1, 1, {1, 4, 3}},
      {2, 1, {5, 2, 7}},  {1, 3, {2, 2, 8}},   {1, 2, {3, 5, 15}},   {2, 2, {1, 3, 16}},   {1, 1, {4, 3, 17}},
      {2, 3, {5, 7, 31}}, {1, 2, {2, 3, 32}},  {1, 1, {3, 20, 33}},  {1, 2, {3, 4, 47}},   {1, 5, {4, 6, 64}},
      {1, 3, {4, 5, 67}}, {2, 1, {7, 2, 130}}, {1, 5, {24, 23, 33}}, {1, 4, {37, 40, 41}},
  };
  for (const Case& c : cases) {
    for (int kernel = 0; kernel < 8; ++kernel) test(isa, c, kernel);
  }
  test_past_caches(isa);
  std::printf("%s: done\n", isa.name);
}

}  // namespace

int main() {
  for_each_kernel_set(test_all);
  return finish();
}
