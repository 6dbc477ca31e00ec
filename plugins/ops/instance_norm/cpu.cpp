// Spreads an instance norm over threads: a channel to each, which it finds in its caches again when it writes it, where
// that keeps all of them busy; else chunks of channels, all moments first. A channel is cut into chunks of kNormChunk
// numbers whatever the threads are, and the chunks' moments are joined in their order, so a result is bit-identical for
// any number of threads.

#include "ops/instance_norm/cpu.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/kernels.h"

namespace msdk::cpu {
namespace {

constexpr int64_t kMapsPerThread = 4;

// Chan, Golub and LeVeque: the moments of both together.
Moments joined(const Moments& a, const Moments& b) {
  const double count = a.count + b.count, distance = b.mean - a.mean;
  return {count, a.mean + distance * (b.count / count),
          a.squares + b.squares + distance * distance * (a.count * b.count / count)};
}

Normalisation normalisation(const InstanceNormArgs<float>& a, const Moments& m, int64_t channel) {
  const float high = static_cast<float>(m.mean);
  const double deviation = std::sqrt(m.squares / m.count + static_cast<double>(a.epsilon));
  return {high, static_cast<float>(m.mean - high), static_cast<float>(a.weight[channel] / deviation), a.bias[channel]};
}

}  // namespace

void instance_norm(const InstanceNormArgs<float>& a, const Parallel& parallel, const Kernels& isa) {
  const int64_t maps = a.batch * a.channels, chunks = (a.voxels + kNormChunk - 1) / kNormChunk;
  if (maps == 0) return;
  const auto moments_of = [&](int64_t map, int64_t chunk) {
    const int64_t first = chunk * kNormChunk;
    return isa.instance_norm.moments(a.x + map * a.voxels + first, std::min(kNormChunk, a.voxels - first));
  };
  const auto normalise = [&](int64_t map, const Moments& all, int64_t first, int64_t end) {
    isa.instance_norm.apply(a, normalisation(a, all, map % a.channels), map * a.voxels + first, end - first);
  };
  if (chunks == 1 || maps % parallel.threads() == 0 || maps >= kMapsPerThread * parallel.threads()) {
    parallel(maps, [&](int64_t map) {
      Moments all = moments_of(map, 0);
      for (int64_t chunk = 1; chunk < chunks; ++chunk) all = joined(all, moments_of(map, chunk));
      normalise(map, all, 0, a.voxels);
    });
    return;
  }
  std::vector<Moments> moments(static_cast<size_t>(maps * chunks));
  parallel(maps * chunks, [&](int64_t index) { moments[index] = moments_of(index / chunks, index % chunks); });
  parallel(maps * chunks, [&](int64_t index) {
    const int64_t map = index / chunks, first = index % chunks * kNormChunk;
    Moments all = moments[map * chunks];
    for (int64_t chunk = 1; chunk < chunks; ++chunk) all = joined(all, moments[map * chunks + chunk]);
    normalise(map, all, first, std::min(first + kNormChunk, a.voxels));
  });
}

}  // namespace msdk::cpu
