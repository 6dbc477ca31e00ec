// The arguments of Conv3d.
#pragma once

#include <cstdint>

#include "ops/input_norm.h"

namespace msdk {

// ONNX's Conv in three dimensions without dilation: with p and j the coordinates of a voxel and of a tap,
// y[b,o,p] = bias[o] + sum_{c,j} weight[o,c,j] * x[b,c,p*stride - before + j], x zero outside; c: the in_channels /
// groups input channels of o's group. Sides are depth, height, width; out = (in + before + after - kernel) / stride
// + 1.
struct Conv3dArgs {
  int64_t batch, in_channels, out_channels, groups;
  int64_t in[3], out[3], kernel[3], stride[3], before[3], after[3];
  const float* x;             // (batch, in_channels, *in)
  const float* weight;        // (out_channels, in_channels / groups, *kernel)
  const float* bias;          // (out_channels), or null: zero
  float* y;                   // (batch, out_channels, *out)
  InputNorm norm = {};        // of x, which is padded with zeros after it
  double* moments = nullptr;  // (batch, out_channels, 2): mean and variance of y, or null: not wanted
};

}  // namespace msdk
