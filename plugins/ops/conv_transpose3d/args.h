// The arguments of ConvTranspose3d.
#pragma once

#include <cstdint>

#include "ops/input_norm.h"

namespace msdk {

// ONNX's ConvTranspose in three dimensions whose kernel is its stride: with p a voxel of x and j a tap,
// y[b,o,p*kernel+j] = bias[o] + sum_c weight[c,o,j] * x[b,c,p]; then the channels of skip behind those.
struct ConvTranspose3dArgs {
  int64_t batch, in_channels, out_channels, skip_channels;
  int64_t in[3], kernel[3];             // depth, height, width; kernel: 1 or 2
  const float* x;                       // (batch, in_channels, *in)
  const float* weight;                  // (in_channels, out_channels, *kernel)
  const float* bias;                    // (out_channels)
  const float* skip;                    // (batch, skip_channels, *(in * kernel)), or null without any
  float* y;                             // (batch, out_channels + skip_channels, *(in * kernel))
  InputNorm norm = {}, skip_norm = {};  // of x, of skip
};

}  // namespace msdk
