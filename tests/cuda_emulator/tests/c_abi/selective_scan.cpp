// The workspace is allocated here to the byte, and poisoned.
#include "ops/selective_scan/cuda.h"

#include <cstring>
#include <memory>

#include "c_abi.h"

using namespace msdk;

namespace {

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
  return refused ? c_abi::report(refused) : nullptr;
}

}  // namespace

EXPORT const char* selective_scan(int is_half, int64_t batch, int64_t channels, int64_t length, int states, int dt_rank,
                                  const char* directions, float scale, const void* u, const void* x_dbl,
                                  const float* dt_weight, const float* dt_bias, const float* A, const float* D_skip,
                                  const void* z, void* y) {
  DirectionList list;
  const std::string problem = c_abi::read_directions(directions, length, list);
  if (!problem.empty()) return c_abi::report(problem);
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
