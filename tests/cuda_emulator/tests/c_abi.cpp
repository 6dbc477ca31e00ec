// The emulated ops for Python (tests/plugins/test_cuda_ops.py). Each call returns null or what is wrong, in a buffer
// that the next call overwrites. Workspaces are allocated here to the byte, and poisoned.

#include <cstring>
#include <memory>
#include <string>

#include "emulator.h"
#include "ops/directional_conv1d/cuda.h"
#include "ops/directions.h"
#include "ops/kan_linear/cuda.h"
#include "ops/selective_scan/cuda.h"

namespace {

using namespace msdk;

const char* report(const std::string& problem) {
  static std::string last;
  last = problem;
  return last.empty() ? nullptr : last.c_str();
}

std::string read_directions(const char* text, int64_t length, DirectionList& out) {
  const std::string problem = parse_directions(text, out);
  return problem.empty() ? check_directions(out, length) : problem;
}

template <class T>
const char* scan(SelectiveScanArgs<T> a, const void* u, const void* x_dbl, const void* z, void* y) {
  a.u = static_cast<const T*>(u);
  a.x_dbl = static_cast<const T*>(x_dbl);
  a.z = static_cast<const T*>(z);
  a.y = static_cast<T*>(y);
  const size_t bytes = cuda::selective_scan_workspace(a);
  const std::unique_ptr<char[]> workspace(new char[bytes + 256]);
  void* start = workspace.get();
  size_t space = bytes + 256;
  std::align(256, bytes, start, space);
  std::memset(start, 0xff, bytes);
  const char* refused = cuda::selective_scan(a, start, nullptr);
  return refused ? report(refused) : nullptr;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT void emulator_order(uint64_t seed) {
  seed == 0 ? cuda_emulator::run_in_launch_order() : cuda_emulator::run_shuffled(seed);
}

EXPORT const char* selective_scan(int is_half, int64_t batch, int64_t channels, int64_t length, int states, int dt_rank,
                                  const char* directions, float scale, const void* u, const void* x_dbl,
                                  const float* dt_weight, const float* dt_bias, const float* A, const float* D_skip,
                                  const void* z, void* y) {
  DirectionList list;
  const std::string problem = read_directions(directions, length, list);
  if (!problem.empty()) return report(problem);
  const auto fill = [&](auto& a) {
    a.batch = batch, a.channels = channels, a.length = length, a.states = states, a.dt_rank = dt_rank;
    a.directions = list, a.scale = scale;
    a.dt_weight = dt_weight, a.dt_bias = dt_bias, a.A = A, a.D_skip = D_skip;
  };
  SelectiveScanArgs<float> single{};
  SelectiveScanArgs<Half> half{};
  fill(single);
  fill(half);
  return is_half ? scan(half, u, x_dbl, z, y) : scan(single, u, x_dbl, z, y);
}

EXPORT const char* directional_conv1d(int is_half, int64_t batch, int64_t channels, int64_t length, int width,
                                      const char* directions, const void* x, const float* weight, const float* bias,
                                      void* u) {
  DirectionList list;
  const std::string problem = read_directions(directions, length, list);
  if (!problem.empty()) return report(problem);
  const char* refused =
      is_half ? cuda::directional_conv1d<Half>({batch, channels, length, width, list, static_cast<const Half*>(x),
                                                weight, bias, static_cast<Half*>(u)},
                                               nullptr)
              : cuda::directional_conv1d<float>({batch, channels, length, width, list, static_cast<const float*>(x),
                                                 weight, bias, static_cast<float*>(u)},
                                                nullptr);
  return refused ? report(refused) : nullptr;
}

EXPORT const char* kan_linear(int is_half, int64_t batch, int64_t in_channels, int64_t out_channels, int64_t length,
                              int bases, float grid_min, float grid_max, const void* x, const float* base_weight,
                              const float* spline_weight, void* y) {
  const char* refused =
      is_half
          ? cuda::kan_linear<Half>({batch, in_channels, out_channels, length, bases, grid_min, grid_max,
                                    static_cast<const Half*>(x), base_weight, spline_weight, static_cast<Half*>(y)},
                                   nullptr)
          : cuda::kan_linear<float>({batch, in_channels, out_channels, length, bases, grid_min, grid_max,
                                     static_cast<const float*>(x), base_weight, spline_weight, static_cast<float*>(y)},
                                    nullptr);
  return refused ? report(refused) : nullptr;
}
