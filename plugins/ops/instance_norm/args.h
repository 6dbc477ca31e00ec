// The arguments of InstanceNorm.
#pragma once

#include <cstdint>

namespace msdk {

enum class Activation { kNone, kRelu, kLeakyRelu };

// y = activation((x - mean) / sqrt(variance + epsilon) * weight[c] + bias[c] + addend), mean and variance over the
// voxels of one channel of one image. LeakyReLU multiplies what is below 0 by `slope`.
struct InstanceNormArgs {
  int64_t batch, channels, voxels;
  float epsilon;
  Activation activation;
  float slope;
  const float* x;       // (batch, channels, voxels)
  const float* weight;  // (channels)
  const float* bias;    // (channels)
  const float* addend;  // (batch, channels, voxels), or null: zero
  float* y;             // (batch, channels, voxels)
};

}  // namespace msdk
