// The arguments of KanLinear.
#pragma once

#include <cstdint>

namespace msdk {

constexpr int kMaxSplineBases = 64;

// y[b,o,l] = sum_c base_weight[o,c] * SiLU(x[b,c,l]) + sum_{c,g} spline_weight[o,c,g] * B_g(x[b,c,l])
// B_g: cubic B-splines on the knots grid_min + (i - 3)*h, h = (grid_max - grid_min)/(bases - 3); zero outside.
template <class T>
struct KanLinearArgs {
  int64_t batch, in_channels, out_channels, length;
  int bases;
  float grid_min, grid_max;
  const T* x;                  // (batch, in_channels, length)
  const float* base_weight;    // (out_channels, in_channels)
  const float* spline_weight;  // (out_channels, in_channels, bases)
  T* y;                        // (batch, out_channels, length)
};

}  // namespace msdk
