// Spreads an instance norm over threads. A channel is cut into chunks of kNormChunk numbers whatever the threads are,
// and the chunks' moments are joined in their order, so a result is bit-identical for any number of threads.

#include "ops/instance_norm/cpu.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/kernels.h"

namespace msdk::cpu {
namespace {

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
  if (chunks == 1) {  // it is still in the cache when it is written
    parallel(maps, [&](int64_t map) {
      const Moments moments = isa.instance_norm.moments(a.x + map * a.voxels, a.voxels);
      isa.instance_norm.apply(a, normalisation(a, moments, map % a.channels), map * a.voxels, a.voxels);
    });
    return;
  }
  const auto length = [&](int64_t chunk) { return std::min(kNormChunk, a.voxels - chunk * kNormChunk); };
  std::vector<Moments> moments(static_cast<size_t>(maps * chunks));
  parallel(maps * chunks, [&](int64_t index) {
    const int64_t map = index / chunks, chunk = index % chunks;
    moments[index] = isa.instance_norm.moments(a.x + map * a.voxels + chunk * kNormChunk, length(chunk));
  });
  parallel(maps * chunks, [&](int64_t index) {
    const int64_t map = index / chunks, chunk = index % chunks;
    Moments all = moments[map * chunks];
    for (int64_t other = 1; other < chunks; ++other) all = joined(all, moments[map * chunks + other]);
    const int64_t first = map * a.voxels + chunk * kNormChunk;
    isa.instance_norm.apply(a, normalisation(a, all, map % a.channels), first, length(chunk));
  });
}

}  // namespace msdk::cpu
