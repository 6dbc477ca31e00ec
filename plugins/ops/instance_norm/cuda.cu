// An instance norm with what follows it.
//
// A map, the voxels of one channel of one image, is shared by up to 256 blocks. Each writes the moments of its voxels;
// a second launch joins them, in every block alike, and applies the norm. A map that one block reads takes one launch.
// 16 numbers of a thread are centred about their own mean, and moments are joined in double: sums are as good as exact
// for any size and any mean.
//
// Memory bound: x read twice, of which the caches give the second where it fits, and y written once.
#include "ops/instance_norm/cuda.h"

#include <algorithm>

#include "cuda/math.cuh"

namespace msdk::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMostBlocks = kThreads;  // of a map: a thread reads the moments of one
constexpr int kBatch = 16;             // numbers that a thread holds at once

struct Moments {
  double count, mean, squares;  // squares: the sum of (x - mean)^2
};

struct MomentsOfThreads {
  Moments of[kThreads];
};

// Chan, Golub and LeVeque: the moments of both together.
__device__ __forceinline__ Moments joined(const Moments& a, const Moments& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const double count = a.count + b.count, share = b.count / count, distance = b.mean - a.mean;
  return {count, a.mean + distance * share, a.squares + b.squares + distance * distance * (a.count * share)};
}

// Of every voxel of the map that is this thread's: number `first` and each `step` from there.
template <class T>
__device__ __forceinline__ Moments moments_of(const T* x, int64_t voxels, int64_t first, int64_t step) {
  Moments all{0, 0, 0};
  for (int64_t begin = first; begin < voxels; begin += kBatch * step) {
    float values[kBatch], sum = 0.0f;
    int count = 0;
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      const int64_t voxel = begin + k * step;
      values[k] = voxel < voxels ? to_float(x[voxel]) : 0.0f;
      count += voxel < voxels;
      sum += values[k];
    }
    const float about = sum / static_cast<float>(count);
    float rest = 0.0f, squares = 0.0f;
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      const float centred = k < count ? values[k] - about : 0.0f;
      rest += centred;
      squares += centred * centred;
    }
    const double off = static_cast<double>(rest) / count;
    all = joined(all, {static_cast<double>(count), about + off, squares - off * rest});
  }
  return all;
}

// The moments of all threads together, for all of them.
__device__ Moments joined_by_block(MomentsOfThreads& shared, const Moments& mine) {
  shared.of[threadIdx.x] = mine;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) shared.of[threadIdx.x] = joined(shared.of[threadIdx.x], shared.of[threadIdx.x + half]);
  }
  __syncthreads();
  return shared.of[0];
}

__device__ __forceinline__ float activated(float x, Activation activation, float slope) {
  if (activation == Activation::kNone || x > 0.0f) return x;
  return activation == Activation::kRelu ? (x < 0.0f ? 0.0f : x) : slope * x;
}

template <class T>
__device__ __forceinline__ void apply(const InstanceNormArgs<T>& a, const Moments& moments, int64_t map, int64_t first,
                                      int64_t step) {
  const int64_t channel = map % a.channels, at = map * a.voxels;
  const float high = static_cast<float>(moments.mean), low = static_cast<float>(moments.mean - high);
  const double deviation = sqrt(moments.squares / moments.count + static_cast<double>(a.epsilon));
  const float factor = static_cast<float>(a.weight[channel] / deviation), bias = a.bias[channel];
  for (int64_t voxel = first; voxel < a.voxels; voxel += step) {
    float y = ((to_float(a.x[at + voxel]) - high) - low) * factor + bias;
    if (a.addend) y += to_float(a.addend[at + voxel]);
    a.y[at + voxel] = from_float<T>(activated(y, a.activation, a.slope));
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    moments_kernel(const T* x, const int64_t voxels, const int blocks, Moments* partials) {
  MSDK_SHARED(MomentsOfThreads, shared);
  const int64_t map = blockIdx.x / blocks, first = blockIdx.x % blocks * kThreads + threadIdx.x;
  const Moments mine = moments_of(x + map * voxels, voxels, first, static_cast<int64_t>(blocks) * kThreads);
  const Moments all = joined_by_block(shared, mine);
  if (threadIdx.x == 0) partials[blockIdx.x] = all;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    apply_kernel(const InstanceNormArgs<T> a, const int blocks, const Moments* partials) {
  MSDK_SHARED(MomentsOfThreads, shared);
  const int64_t map = blockIdx.x / blocks, first = blockIdx.x % blocks * kThreads + threadIdx.x;
  const Moments none{0, 0, 0};
  const bool mine = threadIdx.x < static_cast<unsigned>(blocks);
  const Moments all = joined_by_block(shared, mine ? partials[map * blocks + threadIdx.x] : none);
  apply(a, all, map, first, static_cast<int64_t>(blocks) * kThreads);
}

template <class T>
__global__ void __launch_bounds__(kThreads) whole_kernel(const InstanceNormArgs<T> a) {
  MSDK_SHARED(MomentsOfThreads, shared);
  const int64_t map = blockIdx.x;
  const Moments mine = moments_of(a.x + map * a.voxels, a.voxels, threadIdx.x, kThreads);
  apply(a, joined_by_block(shared, mine), map, threadIdx.x, kThreads);
}

int blocks_of(int64_t voxels) {
  return static_cast<int>(std::min<int64_t>(kMostBlocks, divide_up(voxels, kThreads * kBatch)));
}

}  // namespace

template <class T>
size_t instance_norm_workspace(const InstanceNormArgs<T>& args) {
  const int blocks = blocks_of(args.voxels);
  return blocks > 1 ? static_cast<size_t>(product({args.batch, args.channels, blocks})) * sizeof(Moments) : 0;
}

template <class T>
const char* instance_norm(const InstanceNormArgs<T>& args, void* workspace, Stream stream) {
  const int blocks = blocks_of(args.voxels);
  const int64_t all = product({args.batch, args.channels, blocks});
  if (all == 0) return nullptr;
  if (all > INT32_MAX) return "instance_norm: too many channels for one launch; split the batch";
  const dim3 grid(static_cast<unsigned>(all)), threads(kThreads);
  if (blocks == 1) return launch(whole_kernel<T>, grid, threads, 0, stream, args);
  auto* const partials = static_cast<Moments*>(workspace);
  const char* refused = launch(moments_kernel<T>, grid, threads, 0, stream, args.x, args.voxels, blocks, partials);
  return refused ? refused : launch(apply_kernel<T>, grid, threads, 0, stream, args, blocks, partials);
}

#define MSDK_INSTANCE_NORM(T)                                          \
  template size_t instance_norm_workspace(const InstanceNormArgs<T>&); \
  template const char* instance_norm(const InstanceNormArgs<T>&, void*, Stream)

MSDK_INSTANCE_NORM(float);
MSDK_INSTANCE_NORM(Half);

}  // namespace msdk::cuda
