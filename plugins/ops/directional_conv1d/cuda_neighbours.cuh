// Convolutions of four taps over neighbouring tokens: 16 bytes a load and a store, no shared memory.
#pragma once

#include "cuda/sixteen.cuh"
#include "ops/directional_conv1d/cuda.h"

namespace msdk::cuda {
namespace {

constexpr int kTaps = 4, kReach = kTaps - 1;
constexpr int kNeighbourThreads = 256;

// bias and the taps of a token and of those that `towards` leads to.
__device__ __forceinline__ float tap_sum(float bias, const float* weight, const float* x, int towards) {
  float sum = bias;
#pragma unroll
  for (int tap = 0; tap < kTaps; ++tap) sum += weight[kReach - tap] * x[towards * tap];
  return sum;
}

// A thread computes as many tokens of one channel as 16 bytes hold, in every direction; the tokens that the taps reach
// on either side are read again, from the cache.
template <class T>
__global__ void __launch_bounds__(kNeighbourThreads, 4)
    conv_of_neighbours(const DirectionalConv1dArgs<T> a, const unsigned tiles) {
  constexpr int kTokens = kInSixteen<T>;
  const int64_t row = blockIdx.x / tiles;  // of batch and channel
  const int64_t token = (int64_t{blockIdx.x % tiles} * kNeighbourThreads + threadIdx.x) * kTokens;
  if (token >= a.length) return;
  const int64_t batch = row / a.channels, channel = row % a.channels;
  const T* x = a.x + row * a.length + token;
  float before[kTokens] = {}, own[kTokens], after[kTokens] = {}, reached[kTokens + 2 * kReach];
  load_sixteen(x, own);
  if (token > 0) load_sixteen(x - kTokens, before);
  if (token + kTokens < a.length) load_sixteen(x + kTokens, after);
#pragma unroll
  for (int i = 0; i < kReach; ++i) {
    reached[i] = before[kTokens - kReach + i];
    reached[kReach + kTokens + i] = after[i];
  }
#pragma unroll
  for (int i = 0; i < kTokens; ++i) reached[kReach + i] = own[i];

  const int scans = a.directions.count;
  for (int scan = 0; scan < scans; ++scan) {
    const int64_t parameters = scan * a.channels + channel;
    const float bias = __ldg(a.bias + parameters);
    float weight[kTaps], u[kTokens];
#pragma unroll
    for (int j = 0; j < kTaps; ++j) weight[j] = __ldg(a.weight + parameters * kTaps + j);
    if (a.directions.items[scan].backward) {
#pragma unroll
      for (int i = 0; i < kTokens; ++i) u[i] = tap_sum(bias, weight, &reached[kReach + i], 1);
    } else {
#pragma unroll
      for (int i = 0; i < kTokens; ++i) u[i] = tap_sum(bias, weight, &reached[kReach + i], -1);
    }
#pragma unroll
    for (int i = 0; i < kTokens; ++i) u[i] = silu(u[i]);
    store_sixteen(a.u + ((batch * scans + scan) * a.channels + channel) * a.length + token, u);
  }
}

}  // namespace
}  // namespace msdk::cuda
