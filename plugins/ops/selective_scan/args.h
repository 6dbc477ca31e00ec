// The arguments of BidirectionalSelectiveScan.
#pragma once

#include "ops/contract.h"

namespace msdk {

constexpr int kMaxStates = 64;

// delta = softplus(dt_weight @ dt + dt_bias)
// h_t   = exp(delta_t * A) * h_{t-1} + delta_t * B_t * u_t, h_{-1} = 0, float32
// y     = scale * SiLU(z) * sum_k (C_t . h_t + D_skip * u_t)
template <class T>
struct SelectiveScanArgs {
  int64_t batch, channels, length;
  int states, dt_rank;
  DirectionList directions;
  float scale;
  const T* u;              // (batch, K, channels, length)
  const T* x_dbl;          // (batch, K, dt_rank + 2*states, length): rows dt, B, C
  const float* dt_weight;  // (K, channels, dt_rank)
  const float* dt_bias;    // (K, channels)
  const float* A;          // (K, channels, states)
  const float* D_skip;     // (K, channels)
  const T* z;              // (batch, channels, length), or null: no gate
  T* y;                    // (batch, channels, length)
};

}  // namespace msdk
