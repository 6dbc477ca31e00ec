// The arguments of TokenNorm.
#pragma once

#include <cstdint>

namespace msdk {

// y[b,c,l] = (x[b,c,l] - mean) / sqrt(variance + epsilon) * weight[c] + bias[c], mean and variance over the channels of
// a token: a layer norm whose channels are not last. T: float, or Half on a GPU.
template <class T>
struct TokenNormArgs {
  int64_t batch, channels, length;
  float epsilon;
  const T* x;           // (batch, channels, length)
  const float* weight;  // (channels)
  const float* bias;    // (channels)
  T* y;                 // (batch, channels, length)
};

}  // namespace msdk
