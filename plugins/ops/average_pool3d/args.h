// The arguments of AveragePool3d.
#pragma once

#include <cstdint>

namespace msdk {

// y[d, h, w] is the mean of the box of `kernel` voxels whose first is x[kernel[0] d, kernel[1] h, kernel[2] w]. Voxels
// behind the last whole box are in none.
struct AveragePool3dArgs {
  int64_t batch, channels, in[3];  // depth, height, width; at least the kernel's
  int64_t kernel[3];               // 1 or 2
  const float* x;                  // (batch, channels, *in)
  float* y;                        // (batch, channels, *in / *kernel)
};

}  // namespace msdk
