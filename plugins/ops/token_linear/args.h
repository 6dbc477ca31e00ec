// The arguments of TokenLinear.
#pragma once

#include <cstdint>

#include "ops/input_norm.h"

namespace msdk {

// y[b,k,o,l] = bias[k,o] + sum_c weight[k,o,c] * x[b,k,c,l] + addend[b,k,o,l].
struct TokenLinearArgs {
  int64_t batch, sets, in_channels, out_channels, length;
  const float* x;       // (batch, sets, in_channels, length)
  const float* weight;  // (sets, out_channels, in_channels)
  const float* bias;    // (sets, out_channels), or null: zero
  const float* addend;  // (batch, sets, out_channels, length), or null: zero
  float* y;             // (batch, sets, out_channels, length)
  InputNorm norm = {};  // of x, with one set
};

}  // namespace msdk
