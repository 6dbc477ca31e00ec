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

Normalisation normalisation(double mean, double variance, float epsilon, float weight, float bias) {
  const float high = static_cast<float>(mean);
  const double deviation = std::sqrt(variance + static_cast<double>(epsilon));
  return {high, static_cast<float>(mean - high), static_cast<float>(weight / deviation), bias};
}

int64_t chunks_of(int64_t voxels) { return (voxels + kNormChunk - 1) / kNormChunk; }

Moments chunk_moments(const float* x, int64_t voxels, int64_t chunk, const Kernels& isa) {
  const int64_t first = chunk * kNormChunk;
  return isa.instance_norm.moments(x + first, std::min(kNormChunk, voxels - first));
}

}  // namespace

void instance_norm(const InstanceNormArgs<float>& a, const Parallel& parallel, const Kernels& isa) {
  const int64_t maps = a.batch * a.channels, chunks = chunks_of(a.voxels);
  if (maps == 0) return;
  const auto moments_of = [&](int64_t map, int64_t chunk) {
    return chunk_moments(a.x + map * a.voxels, a.voxels, chunk, isa);
  };
  const auto normalise = [&](int64_t map, const Moments& all, int64_t first, int64_t end) {
    const int64_t channel = map % a.channels;
    const Normalisation n =
        normalisation(all.mean, all.squares / all.count, a.epsilon, a.weight[channel], a.bias[channel]);
    isa.instance_norm.apply(a, n, map * a.voxels + first, end - first);
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

void moments_of(const float* x, int64_t maps, int64_t voxels, double* moments, const Parallel& parallel,
                const Kernels& isa) {
  const int64_t chunks = chunks_of(voxels);
  std::vector<Moments> parts(static_cast<size_t>(maps * chunks));
  parallel(maps * chunks, [&](int64_t index) {
    parts[index] = chunk_moments(x + index / chunks * voxels, voxels, index % chunks, isa);
  });
  for (int64_t map = 0; map < maps; ++map) {
    Moments all = parts[map * chunks];
    for (int64_t chunk = 1; chunk < chunks; ++chunk) all = joined(all, parts[map * chunks + chunk]);
    moments[2 * map] = all.mean;
    moments[2 * map + 1] = all.squares / all.count;
  }
}

std::vector<Normalisation> normalisations(const NormOfInput& norm, const float* x, int64_t batch, int64_t channels,
                                          int64_t voxels, const Parallel& parallel, const Kernels& isa) {
  std::vector<double> own;
  const double* moments = norm.moments;
  if (!moments) {
    own.resize(static_cast<size_t>(2 * batch * channels));
    moments_of(x, batch * channels, voxels, own.data(), parallel, isa);
    moments = own.data();
  }
  std::vector<Normalisation> all;
  for (int64_t map = 0; map < batch * channels; ++map) {
    const int64_t channel = map % channels;
    all.push_back(
        normalisation(moments[2 * map], moments[2 * map + 1], norm.epsilon, norm.weight[channel], norm.bias[channel]));
  }
  return all;
}

}  // namespace msdk::cpu
