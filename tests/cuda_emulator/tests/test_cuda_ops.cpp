// The emulated CUDA ops under the sanitizers, against the CPU kernels (which test_kernels holds to a double
// reference): odd sizes, outputs and workspace poisoned and allocated to the byte, in launch order and shuffled.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda_fp16.h"
#include "emulator.h"
#include "ops/directional_conv1d/cpu.h"
#include "ops/directional_conv1d/cuda.h"
#include "ops/directions.h"
#include "ops/kan_linear/cpu.h"
#include "ops/kan_linear/cuda.h"
#include "ops/selective_scan/cpu.h"
#include "ops/selective_scan/cuda.h"

using namespace msdk;

namespace {

int failures = 0, cases = 0;

cpu::Parallel one_thread() {
  return {[](void*, cpu::Parallel::Body body, size_t total, void* data) {
            for (size_t index = 0; index < total; ++index) body(data, index);
          },
          nullptr, 1};
}

float to_float(float x) { return x; }
float to_float(Half x) { return __half2float(__ushort_as_half(x.bits)); }

void assign(float& to, float x) { to = x; }
void assign(Half& to, float x) { to.bits = __half_as_ushort(__float2half_rn(x)); }

// An array in T and the same values in float32. Heap memory of exactly its size: ASan sees one element beyond.
template <class T>
struct Array {
  std::vector<T> values;
  std::vector<float> floats;

  Array(std::mt19937& rng, int64_t count, float low, float high) : values(count), floats(count) {
    std::uniform_real_distribution<float> draw(low, high);
    for (int64_t i = 0; i < count; ++i) {
      assign(values[i], draw(rng));
      floats[i] = to_float(values[i]);
    }
  }
};

template <class T>
std::vector<T> poisoned(size_t count) {
  std::vector<T> values(count);
  if (count > 0) std::memset(values.data(), 0xff, count * sizeof(T));
  return values;
}

// Runs `enqueue` into poisoned memory in three orders: all the same bits, and close to what is expected.
template <class T, class F>
void check(const std::string& what, const std::vector<float>& expected, F&& enqueue) {
  ++cases;
  const double limit = sizeof(T) == sizeof(float) ? 4e-6 : 2e-3;
  std::vector<T> first;
  for (const unsigned seed : {0, 1, 2}) {
    seed == 0 ? cuda_emulator::run_in_launch_order() : cuda_emulator::run_shuffled(seed);
    std::vector<T> out = poisoned<T>(expected.size());
    if (const char* refused = enqueue(out.data())) {
      std::printf("FAILED %s: refused: %s\n", what.c_str(), refused);
      ++failures;
      return;
    }
    if (seed == 0) {
      first = out;
    } else if (std::memcmp(first.data(), out.data(), out.size() * sizeof(T)) != 0) {
      std::printf("FAILED %s: shuffled run %u differs\n", what.c_str(), seed);
      ++failures;
    }
  }
  double difference = 0, largest = 1e-30;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::fabs(to_float(first[i]) - expected[i]);
    difference = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(difference, error);
    largest = std::max(largest, std::fabs(static_cast<double>(expected[i])));
  }
  if (difference / largest <= limit) return;
  std::printf("FAILED %s: relative error %.3g, allowed %.3g\n", what.c_str(), difference / largest, limit);
  ++failures;
}

template <class T, class U>
void copy_sizes(const SelectiveScanArgs<U>& from, SelectiveScanArgs<T>& to) {
  to.batch = from.batch, to.channels = from.channels, to.length = from.length;
  to.states = from.states, to.dt_rank = from.dt_rank, to.directions = from.directions, to.scale = from.scale;
  to.dt_weight = from.dt_weight, to.dt_bias = from.dt_bias, to.A = from.A, to.D_skip = from.D_skip;
}

template <class T>
void test_scan(int64_t batch, int64_t channels, int64_t length, int states, int dt_rank, const char* directions,
               bool gate) {
  std::mt19937 rng(17);
  SelectiveScanArgs<float> cpu_args{};
  if (!parse_directions(directions, cpu_args.directions).empty()) std::abort();
  const int64_t K = cpu_args.directions.count;
  const Array<T> u(rng, batch * K * channels * length, -2, 2);
  const Array<T> x_dbl(rng, batch * K * (dt_rank + 2 * states) * length, -1, 1);
  const Array<T> z(rng, batch * channels * length, -3, 3);
  const Array<float> dt_weight(rng, K * channels * dt_rank, -0.3f, 0.3f), dt_bias(rng, K * channels, -6, 1);
  const Array<float> A(rng, K * channels * states, -8, -0.5f), D_skip(rng, K * channels, -1, 1);
  cpu_args.batch = batch, cpu_args.channels = channels, cpu_args.length = length;
  cpu_args.states = states, cpu_args.dt_rank = dt_rank, cpu_args.scale = 0.5f;
  cpu_args.dt_weight = dt_weight.values.data(), cpu_args.dt_bias = dt_bias.values.data();
  cpu_args.A = A.values.data(), cpu_args.D_skip = D_skip.values.data();
  SelectiveScanArgs<T> args{};
  copy_sizes(cpu_args, args);
  args.u = u.values.data(), args.x_dbl = x_dbl.values.data(), args.z = gate ? z.values.data() : nullptr;
  cpu_args.u = u.floats.data(), cpu_args.x_dbl = x_dbl.floats.data(), cpu_args.z = gate ? z.floats.data() : nullptr;
  std::vector<float> expected(z.floats.size());
  cpu_args.y = expected.data();
  cpu::selective_scan(cpu_args, one_thread());

  const std::string what = std::string("scan ") + (sizeof(T) == 4 ? "float" : "half") + " B=" + std::to_string(batch) +
                           " D=" + std::to_string(channels) + " L=" + std::to_string(length) +
                           " N=" + std::to_string(states) + " R=" + std::to_string(dt_rank) + " " + directions;
  check<T>(what, expected, [&](T* y) {
    args.y = y;
    struct alignas(256) Line {
      unsigned char bytes[256];
    };
    const size_t bytes = cuda::selective_scan_workspace(args);
    std::vector<Line> workspace = poisoned<Line>((bytes + sizeof(Line) - 1) / sizeof(Line));
    return cuda::selective_scan(args, workspace.data(), nullptr);
  });
}

template <class T>
void test_conv(int64_t batch, int64_t channels, int64_t length, int width, const char* directions) {
  std::mt19937 rng(18);
  DirectionList list;
  if (!parse_directions(directions, list).empty()) std::abort();
  const Array<T> x(rng, batch * channels * length, -2, 2);
  const Array<float> weight(rng, list.count * channels * width, -1, 1), bias(rng, list.count * channels, -1, 1);
  std::vector<float> expected(x.values.size() * list.count);
  const DirectionalConv1dArgs<float> cpu_args{
      batch, channels, length, width, list, x.floats.data(), weight.values.data(), bias.values.data(), expected.data()};
  cpu::directional_conv1d(cpu_args, one_thread());
  check<T>(std::string("conv ") + directions + " L=" + std::to_string(length) + " W=" + std::to_string(width), expected,
           [&](T* u) {
             const DirectionalConv1dArgs<T> args{
                 batch, channels, length, width, list, x.values.data(), weight.values.data(), bias.values.data(), u};
             return cuda::directional_conv1d(args, nullptr);
           });
}

template <class T>
void test_kan(int64_t batch, int64_t in, int64_t out, int64_t length, int bases) {
  std::mt19937 rng(19);
  const Array<T> x(rng, batch * in * length, -4, 4);
  const Array<float> base(rng, out * in, -1, 1), spline(rng, out * in * bases, -1, 1);
  std::vector<float> expected(batch * out * length);
  cpu::kan_linear({batch, in, out, length, bases, -1.5f, 0.5f, x.floats.data(), base.values.data(),
                   spline.values.data(), expected.data()},
                  one_thread());
  check<T>("kan C=" + std::to_string(in) + " O=" + std::to_string(out) + " L=" + std::to_string(length), expected,
           [&](T* y) {
             const KanLinearArgs<T> args{
                 batch, in, out, length, bases, -1.5f, 0.5f, x.values.data(), base.values.data(), spline.values.data(),
                 y};
             return cuda::kan_linear(args, nullptr);
           });
}

template <class T>
void test_all() {
  test_scan<T>(1, 1, 1, 1, 1, "forward,backward", true);
  test_scan<T>(1, 33, 97, 16, 6, "forward,backward", true);
  test_scan<T>(2, 5, 300, 8, 3, "backward,forward", false);
  test_scan<T>(1, 70, 104, 32, 6, "backward,forward,slices:13", true);  // rows of whole 16 bytes
  test_scan<T>(2, 3, 72, 16, 8, "forward,backward", false);
  test_scan<T>(1, 3, 129, 17, 40, "forward,backward,slices:3", true);
  test_scan<T>(1, 2, 132, 64, 2, "slices:4,slices:4:backward,slices:11", true);
  test_scan<T>(2, 3, 31, 4, 1, "slices:31:backward", false);
  for (const char* directions : {"forward", "backward,slices:5", "slices:5:backward,forward,slices:65"}) {
    for (const int64_t length : {65, 1300}) {
      for (const int width : {1, 4, 16}) test_conv<T>(2, 3, length, width, directions);
    }
  }
  test_kan<T>(1, 1, 1, 1, 4);
  test_kan<T>(2, 9, 67, 70, 8);
  test_kan<T>(1, 2, 3, 130, 64);
}

void expect(bool ok, const char* what) {
  ++cases;
  if (ok) return;
  std::printf("FAILED %s\n", what);
  ++failures;
}

// By arithmetic alone: no tensor of these sizes exists. A size that no launch can have is refused, and a workspace of
// more than 2^32 bytes, or of more than there can be, has its right size.
template <class T>
void test_sizes() {
  SelectiveScanArgs<T> scan{};
  scan.batch = 1, scan.channels = 96, scan.states = 16, scan.dt_rank = 3, scan.directions.count = 2;
  scan.length = int64_t{1} << 31;
  const char* refused = cuda::selective_scan(scan, nullptr, nullptr);
  expect(refused && std::strstr(refused, "at most 2147483647 tokens"), "2^31 tokens of a scan are refused");
  scan.length = INT32_MAX;
  const int64_t rows = (int64_t{1} << 24) * 2 * 96;  // of the states of all chunks of 128 tokens
  expect(cuda::selective_scan_workspace(scan) == static_cast<size_t>(rows * (16 + 1) * 4), "342 GB of workspace");
  scan.batch = int64_t{1} << 20;
  expect(cuda::selective_scan(scan, nullptr, nullptr), "a scan of too many blocks is refused");
  scan.batch = INT64_MAX, scan.channels = INT64_MAX;
  expect(cuda::selective_scan(scan, nullptr, nullptr), "a scan of any size is refused");
  expect(cuda::selective_scan_workspace(scan) == INT64_MAX, "a workspace that cannot be is as large as can be said");

  DirectionalConv1dArgs<T> conv{};
  conv.width = 4, conv.directions.count = 1;
  KanLinearArgs<T> kan{};
  kan.bases = 8, kan.in_channels = 1;
  for (const int64_t size : {int64_t{1} << 22, int64_t{1} << 40, INT64_MAX}) {
    conv.batch = conv.channels = conv.length = kan.batch = kan.out_channels = kan.length = size;
    expect(cuda::directional_conv1d(conv, nullptr), "a convolution of too many blocks is refused");
    expect(cuda::kan_linear(kan, nullptr), "a KAN layer of too many blocks is refused");
  }
}

}  // namespace

int main() {
  test_all<float>();
  test_all<Half>();
  test_sizes<float>();
  test_sizes<Half>();
  std::printf("%d cases, %s\n", cases, failures ? "FAILED" : "passed");
  return failures ? 1 : 0;
}
