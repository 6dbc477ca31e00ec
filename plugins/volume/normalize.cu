#include <algorithm>
#include <cmath>

#include "volume/grid.cuh"
#include "volume/volume.h"

namespace msdk::volume {
namespace {

constexpr int64_t kMostBlocks = 256;  // for one channel: every later block reads this many partial sums again

struct Sum {
  double value;
  int64_t count;
};

int64_t blocks_of(int64_t voxels) { return std::clamp<int64_t>(voxels / (16 * kThreads), 1, kMostBlocks); }

// The sum over the block, for all its threads, in an order fixed by the thread numbers.
__device__ Sum block_sum(Sum mine) {
  struct Sums {
    Sum of[kThreads];
  };
  MSDK_SHARED(Sums, sums);
  __syncthreads();
  sums.of[threadIdx.x] = mine;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) {
      sums.of[threadIdx.x].value += sums.of[threadIdx.x + half].value;
      sums.of[threadIdx.x].count += sums.of[threadIdx.x + half].count;
    }
    __syncthreads();
  }
  return sums.of[0];
}

// partials (channels, blocks) -> the mean over this block's channel, for all its threads; 0 of no voxels.
__device__ double mean_of(const Sum* partials) {
  static_assert(kMostBlocks <= kThreads, "one thread reads one partial sum");
  const Sum none{0, 0};
  const Sum sum = block_sum(threadIdx.x < gridDim.x ? partials[blockIdx.y * gridDim.x + threadIdx.x] : none);
  return sum.count ? sum.value / static_cast<double>(sum.count) : 0;
}

template <class Term>
__device__ void sum_nonzero(const float* channel, int64_t voxels, Sum* partials, Term term) {
  Sum mine{0, 0};
  for (int64_t i = element(); i < voxels; i += static_cast<int64_t>(gridDim.x) * kThreads) {
    if (channel[i] != 0) {
      mine.value += term(channel[i]);
      ++mine.count;
    }
  }
  const Sum sum = block_sum(mine);
  if (threadIdx.x == 0) partials[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

__global__ void sum_values(const float* volume, int64_t voxels, Sum* sums) {
  sum_nonzero(volume + blockIdx.y * voxels, voxels, sums, [](float x) { return static_cast<double>(x); });
}

__global__ void sum_squares(const float* volume, int64_t voxels, const Sum* sums, Sum* squares) {
  const float mean = static_cast<float>(mean_of(sums));
  sum_nonzero(volume + blockIdx.y * voxels, voxels, squares, [=](float x) {
    const double centred = x - mean;
    return centred * centred;
  });
}

__global__ void scale(const float* volume, float* normalized, int64_t voxels, const Sum* sums, const Sum* squares) {
  const float mean = static_cast<float>(mean_of(sums));
  const float deviation = static_cast<float>(sqrt(mean_of(squares)));
  for (int64_t i = element(); i < voxels; i += static_cast<int64_t>(gridDim.x) * kThreads) {
    const int64_t at = blockIdx.y * voxels + i;
    const float x = volume[at];
    const float centred = x - mean;
    normalized[at] = x == 0 ? x : deviation > 0 ? centred / deviation : centred;
  }
}

// Few are expected, so that each goes to memory by itself.
__global__ void count_not_finite(const float* volume, int64_t voxels, int64_t elements, unsigned long long* counts) {
  const int64_t i = element();
  if (i < elements && !std::isfinite(volume[i]))
    atomicAdd(counts + i / voxels * 2 + (std::isnan(volume[i]) ? 0 : 1), 1);
}

}  // namespace
}  // namespace msdk::volume

using namespace msdk::volume;

size_t msdk_volume_normalize_workspace(int64_t channels, int64_t voxels) {
  return static_cast<size_t>(2 * channels * blocks_of(voxels)) * sizeof(Sum);
}

const char* msdk_volume_normalize(const float* volume, float* normalized, int64_t channels, int64_t voxels,
                                  void* workspace, void* stream) {
  if (channels < 1 || channels > 65535 || voxels < 1)
    return "normalize: expected 1 to 65535 channels of 1 voxel or more";
  Sum* const sums = static_cast<Sum*>(workspace);
  Sum* const squares = sums + channels * blocks_of(voxels);
  const dim3 grid(static_cast<unsigned>(blocks_of(voxels)), static_cast<unsigned>(channels));
  const auto on_stream = static_cast<cudaStream_t>(stream);
  const auto launch = [&](auto kernel, auto... args) {
    return msdk::cuda::launch(kernel, grid, dim3(kThreads), 0, on_stream, args...);
  };
  if (const char* refused = launch(sum_values, volume, voxels, sums)) return refused;
  if (const char* refused = launch(sum_squares, volume, voxels, sums, squares)) return refused;
  return launch(scale, volume, normalized, voxels, sums, squares);
}

const char* msdk_volume_count_not_finite(const float* volume, int64_t channels, int64_t voxels, int64_t* not_finite,
                                         void* stream) {
  const auto counts = reinterpret_cast<unsigned long long*>(not_finite);
  const int64_t elements = msdk::cuda::product({channels, voxels});
  return launch_elements(elements, stream, count_not_finite, volume, voxels, elements, counts);
}
