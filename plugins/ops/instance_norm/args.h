// The arguments of InstanceNorm.
#pragma once

#include <cstdint>

namespace msdk {

enum class Activation { kNone, kRelu, kLeakyRelu };

// y = activation((x - mean) / sqrt(variance + epsilon) * weight[c] + bias[c] + addend), mean and variance over the
// voxels of one channel of one image. LeakyReLU multiplies what is below 0 by `slope`. T: float, or Half on a GPU.
template <class T>
struct InstanceNormArgs {
  int64_t batch, channels, voxels;
  float epsilon;
  Activation activation;
  float slope;
  const T* x;           // (batch, channels, voxels)
  const float* weight;  // (channels)
  const float* bias;    // (channels)
  const T* addend;      // (batch, channels, voxels), or null: zero
  T* y;                 // (batch, channels, voxels)
};

}  // namespace msdk
