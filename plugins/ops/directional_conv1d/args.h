// The arguments of DirectionalConv1d.
#pragma once

#include "ops/contract.h"

namespace msdk {

constexpr int kMaxConvWidth = 16;

// u[b,k,d,p_k(t)] = SiLU(bias[k,d] + sum_j weight[k,d,j] * x[b,d,p_k(t - width + 1 + j)]), zero before the start.
template <class T>
struct DirectionalConv1dArgs {
  int64_t batch, channels, length;
  int width;
  DirectionList directions;
  const T* x;           // (batch, channels, length)
  const float* weight;  // (K, channels, width)
  const float* bias;    // (K, channels)
  T* u;                 // (batch, K, channels, length)
};

}  // namespace msdk
