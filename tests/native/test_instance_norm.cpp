// instance_norm of every kernel set against a reference in double: channels of one chunk and of several, tails of
// vectors and of blocks, means far from zero, tensors that end where a sanitizer sees the next byte, every run repeated
// bit for bit.

#include "kernel_fixture.h"
#include "ops/instance_norm/cpu.h"

using namespace msdk;
using namespace msdk::test;

namespace {

std::vector<double> reference(const InstanceNormArgs<float>& a) {
  std::vector<double> y(static_cast<size_t>(a.batch * a.channels * a.voxels));
  for (int64_t map = 0; map < a.batch * a.channels; ++map) {
    const float* x = a.x + map * a.voxels;
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < a.voxels; ++i) mean += x[i] / static_cast<double>(a.voxels);
    for (int64_t i = 0; i < a.voxels; ++i) variance += std::pow(x[i] - mean, 2) / static_cast<double>(a.voxels);
    const int64_t c = map % a.channels;
    for (int64_t i = 0; i < a.voxels; ++i) {
      double value = (x[i] - mean) / std::sqrt(variance + a.epsilon) * a.weight[c] + a.bias[c];
      if (a.addend) value += a.addend[map * a.voxels + i];
      if (a.activation == Activation::kRelu) value = std::max(value, 0.0);
      if (a.activation == Activation::kLeakyRelu && value < 0) value *= a.slope;
      y[map * a.voxels + i] = value;
    }
  }
  return y;
}

void test(const cpu::Kernels& isa, int64_t batch, int64_t channels, int64_t voxels, Activation activation, bool added,
          int threads) {
  std::mt19937 rng(13);
  const int64_t count = batch * channels * voxels;
  const Floats x = uniform(rng, count, 29, 31), addend = uniform(rng, count, -1, 1);
  const Floats weight = uniform(rng, channels, 0.5f, 1), bias = uniform(rng, channels, -1, 1);
  InstanceNormArgs<float> a{batch,  channels, voxels,        1e-5f,       activation,
                            0.125f, x.data(), weight.data(), bias.data(), added ? addend.data() : nullptr,
                            nullptr};
  Threads pool{std::min(threads, 3)};
  const cpu::Parallel parallel(run_on_threads, &pool, threads);
  const std::string what = text_of({batch, channels, voxels, static_cast<int64_t>(activation), added, threads});
  const Floats y = run_twice("instance_norm", isa.name, what, x.size(), [&](float* out) {
    a.y = out;
    cpu::instance_norm(a, parallel, isa);
  });
  expect_close("instance_norm", isa.name, what, relative_error(y, reference(a)), 4e-7);
}

void test_all(const cpu::Kernels& isa) {
  constexpr Activation kActivations[] = {Activation::kNone, Activation::kRelu, Activation::kLeakyRelu};
  int cases = 0;
  for (const int64_t voxels : {1, 2, 15, 16, 17, 127, 129, 2047, 2049, 4100, 65536, 65537, 200003}) {
    for (const bool added : {false, true}) {
      const int threads = cases % 2 ? 1 : 5;
      test(isa, 1 + cases % 2, voxels > 10000 ? 1 : 3, voxels, kActivations[cases % 3], added, threads);
      ++cases;
    }
  }
  std::printf("%s: %d cases done\n", isa.name, cases);
}

}  // namespace

int main() {
  for_each_kernel_set(test_all);
  return finish();
}
