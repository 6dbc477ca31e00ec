// Every kernel set against a reference in double, step by step, on odd sizes, with and without threads, with the
// tokens cut into chunks and not; outputs and scratch are poisoned first, and every run is repeated bit for bit.

#include <cmath>
#include <cstdio>
#include <cstring>

#include "cpu/kernels.h"
#include "kernel_fixture.h"
#include "ops/conv3d/cpu.h"
#include "ops/directional_conv1d/cpu.h"
#include "ops/directions.h"
#include "ops/kan_linear/cpu.h"
#include "ops/selective_scan/cpu.h"
#include "ops/token_norm/cpu.h"
#include "ops/trilinear_upsample/cpu.h"

using namespace msdk;
using namespace msdk::test;

namespace {

int64_t token_of(const Direction& direction, int64_t length, int64_t step) {
  if (direction.backward) step = length - 1 - step;
  return step % direction.slices * (length / direction.slices) + step / direction.slices;
}

double silu(double x) { return x / (1 + std::exp(-x)); }

struct ScanCase {
  int64_t batch, channels, length;
  int states, dt_rank;
  const char* directions;
  bool gate;
  float most_bias = 0;  // of dt_bias: from some 5 on, decays leave the range of exp2
};

std::vector<double> reference(const SelectiveScanArgs<float>& a) {
  std::vector<double> y(a.batch * a.channels * a.length);
  const int64_t K = a.directions.count, rows = a.dt_rank + 2 * a.states;
  for (int64_t b = 0; b < a.batch; ++b) {
    for (int64_t k = 0; k < K; ++k) {
      for (int64_t d = 0; d < a.channels; ++d) {
        const float* x_dbl = a.x_dbl + (b * K + k) * rows * a.length;
        std::vector<double> h(a.states);
        for (int64_t t = 0; t < a.length; ++t) {
          const int64_t token = token_of(a.directions.items[k], a.length, t);
          double x = a.dt_bias[k * a.channels + d];
          for (int r = 0; r < a.dt_rank; ++r) {
            x += double(a.dt_weight[(k * a.channels + d) * a.dt_rank + r]) * x_dbl[r * a.length + token];
          }
          const double delta = x > 20 ? x : std::log1p(std::exp(x));
          const double u = a.u[((b * K + k) * a.channels + d) * a.length + token];
          double sum = a.D_skip[k * a.channels + d] * u;
          for (int n = 0; n < a.states; ++n) {
            h[n] = std::exp(delta * a.A[(k * a.channels + d) * a.states + n]) * h[n] +
                   delta * u * x_dbl[(a.dt_rank + n) * a.length + token];
            sum += h[n] * x_dbl[(a.dt_rank + a.states + n) * a.length + token];
          }
          const int64_t out = (b * a.channels + d) * a.length + token;
          y[out] += a.scale * sum * (a.z ? silu(a.z[out]) : 1.0);
        }
      }
    }
  }
  return y;
}

void test_scan(const cpu::Kernels& isa, const ScanCase& c, int threads) {
  std::mt19937 rng(7);
  SelectiveScanArgs<float> a{};
  if (!parse_directions(c.directions, a.directions).empty()) std::abort();
  const int64_t K = a.directions.count;
  const Floats u = uniform(rng, c.batch * K * c.channels * c.length, -2, 2);
  const Floats x_dbl = uniform(rng, c.batch * K * (c.dt_rank + 2 * c.states) * c.length, -1, 1);
  const Floats dt_weight = uniform(rng, K * c.channels * c.dt_rank, -1, 1);
  const Floats dt_bias = uniform(rng, K * c.channels, -6, c.most_bias);
  const Floats A = uniform(rng, K * c.channels * c.states, -static_cast<float>(c.states), -0.5f);
  const Floats D_skip = uniform(rng, K * c.channels, -1, 1);
  const Floats z = uniform(rng, c.batch * c.channels * c.length, -3, 3);
  Floats discarded(z.size());
  a.batch = c.batch, a.channels = c.channels, a.length = c.length, a.states = c.states, a.dt_rank = c.dt_rank;
  a.scale = 0.5f;
  a.u = u.data(), a.x_dbl = x_dbl.data(), a.dt_weight = dt_weight.data(), a.dt_bias = dt_bias.data();
  a.A = A.data(), a.D_skip = D_skip.data(), a.z = c.gate ? z.data() : nullptr;

  Threads pool{std::min(threads, 3)};
  const cpu::Parallel parallel(run_on_threads, &pool, threads);
  // Leave NaN in the scratch memory: no result may depend on what lies past the end of a tile.
  const Floats not_a_number(x_dbl.size(), std::numeric_limits<float>::quiet_NaN());
  a.x_dbl = not_a_number.data();
  a.y = discarded.data();
  cpu::selective_scan(a, parallel, isa);
  a.x_dbl = x_dbl.data();
  const std::string what = "B=" + std::to_string(c.batch) + " D=" + std::to_string(c.channels) +
                           " L=" + std::to_string(c.length) + " N=" + std::to_string(c.states) +
                           " R=" + std::to_string(c.dt_rank) + " " + c.directions + (c.gate ? " z" : "") +
                           " threads=" + std::to_string(threads);
  const Floats y = run_twice("scan", isa.name, what, z.size(), [&](float* out) {
    a.y = out;
    cpu::selective_scan(a, parallel, isa);
  });
  expect_close("scan", isa.name, what, relative_error(y, reference(a)), 2e-6);
}

void test_conv(const cpu::Kernels& isa, int64_t batch, int64_t channels, int64_t length, int width,
               const char* directions) {
  std::mt19937 rng(8);
  DirectionalConv1dArgs<float> a{};
  if (!parse_directions(directions, a.directions).empty()) std::abort();
  const int64_t K = a.directions.count;
  const Floats x = uniform(rng, batch * channels * length, -2, 2);
  const Floats weight = uniform(rng, K * channels * width, -1, 1), bias = uniform(rng, K * channels, -1, 1);
  Floats u(batch * K * channels * length, std::numeric_limits<float>::quiet_NaN());
  std::vector<double> expected(u.size());
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t k = 0; k < K; ++k) {
      for (int64_t d = 0; d < channels; ++d) {
        for (int64_t t = 0; t < length; ++t) {
          double sum = bias[k * channels + d];
          for (int64_t j = 0; j < width; ++j) {
            if (t - width + 1 + j < 0) continue;
            sum += double(weight[(k * channels + d) * width + j]) *
                   x[(b * channels + d) * length + token_of(a.directions.items[k], length, t - width + 1 + j)];
          }
          expected[((b * K + k) * channels + d) * length + token_of(a.directions.items[k], length, t)] = silu(sum);
        }
      }
    }
  }
  a.batch = batch, a.channels = channels, a.length = length, a.width = width;
  a.x = x.data(), a.weight = weight.data(), a.bias = bias.data(), a.u = u.data();
  Threads pool{2};
  cpu::directional_conv1d(a, cpu::Parallel(run_on_threads, &pool, 2), isa);
  expect_close("conv", isa.name,
               std::string(directions) + " L=" + std::to_string(length) + " W=" + std::to_string(width),
               relative_error(u, expected), 1e-6);
}

double cubic_bspline(double r) {
  const double q = std::fabs(r - 2), a = std::max(2 - q, 0.0), b = std::max(1 - q, 0.0);
  return (a * a * a - 4 * b * b * b) / 6;
}

void test_kan(const cpu::Kernels& isa, int64_t batch, int64_t in, int64_t out, int64_t length, int bases) {
  std::mt19937 rng(9);
  KanLinearArgs<float> a{};
  a.batch = batch, a.in_channels = in, a.out_channels = out, a.length = length, a.bases = bases;
  a.grid_min = -1.5f, a.grid_max = 0.5f;
  const Floats x = uniform(rng, batch * in * length, -4, 4);
  const Floats base = uniform(rng, out * in, -1, 1), spline = uniform(rng, out * in * bases, -1, 1);
  Floats y(batch * out * length, std::numeric_limits<float>::quiet_NaN());
  a.x = x.data(), a.base_weight = base.data(), a.spline_weight = spline.data(), a.y = y.data();
  std::vector<double> expected(y.size());
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t c = 0; c < in; ++c) {
        for (int64_t l = 0; l < length; ++l) {
          const double value = x[(b * in + c) * length + l];
          const double position = (value - a.grid_min) * (bases - 3) / (a.grid_max - a.grid_min) + 3;
          double sum = base[o * in + c] * silu(value);
          for (int g = 0; g < bases; ++g) sum += spline[(o * in + c) * bases + g] * cubic_bspline(position - g);
          expected[(b * out + o) * length + l] += sum;
        }
      }
    }
  }
  Threads pool{2};
  cpu::kan_linear(a, cpu::Parallel(run_on_threads, &pool, 2), isa);
  expect_close("kan", isa.name,
               "C=" + std::to_string(in) + " O=" + std::to_string(out) + " L=" + std::to_string(length),
               relative_error(y, expected), 2e-6);
}

void test_norm(const cpu::Kernels& isa, int64_t batch, int64_t channels, int64_t length) {
  std::mt19937 rng(10);
  const Floats x = uniform(rng, batch * channels * length, 3, 5);
  const Floats weight = uniform(rng, channels, -1, 1), bias = uniform(rng, channels, -1, 1);
  Floats y(x.size(), std::numeric_limits<float>::quiet_NaN());
  std::vector<double> expected(x.size());
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t l = 0; l < length; ++l) {
      const float* token = &x[b * channels * length + l];
      double mean = 0, variance = 0;
      for (int64_t c = 0; c < channels; ++c) mean += token[c * length] / channels;
      for (int64_t c = 0; c < channels; ++c) variance += std::pow(token[c * length] - mean, 2) / channels;
      for (int64_t c = 0; c < channels; ++c) {
        expected[(b * channels + c) * length + l] =
            (token[c * length] - mean) / std::sqrt(variance + 1e-5f) * weight[c] + bias[c];
      }
    }
  }
  Threads pool{3};
  cpu::token_norm({batch, channels, length, 1e-5f, x.data(), weight.data(), bias.data(), y.data()},
                  cpu::Parallel(run_on_threads, &pool, 3), isa);
  expect_close("token_norm", isa.name,
               "B=" + std::to_string(batch) + " C=" + std::to_string(channels) + " L=" + std::to_string(length),
               relative_error(y, expected), 2e-6);
}

void test_all(const cpu::Kernels& isa) {
  const char* lists[] = {"forward", "backward", "backward,forward", "forward,backward,slices:3",
                         "forward,slices:3,slices:3:backward,backward"};
  int cases = 0;
  for (const char* directions : lists) {
    for (const int64_t length : {3, 129, 372, 3072}) {
      for (const int states : {1, 8, 16, 17}) {
        for (const int threads : {1, 3, 64}) {  // 64 cuts the tokens into chunks
          const ScanCase c{1 + cases % 2, cases % 3 == 0 ? 19 : 3, length, states, 1 + cases % 5,
                           directions,    cases % 2 == 0};
          test_scan(isa, c, threads);
          ++cases;
        }
      }
    }
  }
  // Several panels, with slices that some vectors, all and none divide.
  for (const int threads : {1, 3, 64}) {
    test_scan(isa, {1, 19, 2 * 2192, 16, 3, "forward,backward,slices:16", true}, threads);
    test_scan(isa, {2, 3, 48 * 99, 8, 2, "slices:48:backward,slices:48", false}, threads);
    test_scan(isa, {1, 9, 6000, 5, 1, "slices:250,forward,slices:40:backward", true}, threads);
  }
  test_scan(isa, {1, 1, 1, 1, 1, "forward,backward", true}, 2);
  test_scan(isa, {1, 40, 200, 64, 24, "forward,backward", true}, 2);
  for (const int states : {8, 16, 17}) {
    for (const int64_t length : {5, 131, 1030}) {
      test_scan(isa, {1, 19, length, states, 3, "forward,backward", true, 60}, 1);
      test_scan(isa, {1, 3, length, states, 3, "forward,backward", true, 60}, 64);
    }
  }
  for (const char* directions : lists) {
    for (const int64_t length : {3, 33, 129, 372}) {
      for (const int width : {1, 2, 4, 7}) test_conv(isa, 2, 5, length, width, directions);
    }
  }
  for (const int64_t length : {1, 63, 64, 200}) {
    test_kan(isa, 1, 1, 1, length, 4);
    test_kan(isa, 2, 50, 13, length, 8);
  }
  for (const int64_t length : {1, 15, 16, 255, 256, 700}) {
    test_norm(isa, 2, 1, length);
    test_norm(isa, 1, 50, length);
  }
  std::printf("%s: %d scans, conv, KAN and norm cases done\n", isa.name, cases + 29);
}

}  // namespace

int main() {
  for_each_kernel_set(test_all);

  // A whole stage-1 scan of a 128^3 window stays far below 16 MB of working memory.
  SelectiveScanArgs<float> a{};
  a.batch = 1, a.channels = 96, a.length = 262144, a.states = 16, a.dt_rank = 3;
  a.directions.count = 2;
  a.directions.items[1].backward = true;
  for (const int threads : {1, 2, 64}) {
    const int64_t bytes = cpu::selective_scan_workspace(a, threads);
    std::printf("workspace of (1, 96, 262144), N=16, %d threads: %lld bytes\n", threads, static_cast<long long>(bytes));
    if (bytes > 16 << 20) ++failures;
  }
  return finish();
}
