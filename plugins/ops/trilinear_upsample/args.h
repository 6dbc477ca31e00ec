// The arguments of TrilinearUpsample.
#pragma once

#include <cstdint>

namespace msdk {

// Every side doubled, trilinear, half-pixel centres: along each axis y[2i] = x[i-1]/4 + 3x[i]/4 and y[2i+1] = 3x[i]/4 +
// x[i+1]/4, with x[-1] = x[0] and x[n] = x[n-1]; then y += addend.
struct TrilinearUpsampleArgs {
  int64_t batch, channels, in[3];  // depth, height, width
  const float* x;                  // (batch, channels, *in)
  const float* addend;             // (batch, channels, *2in), or null: zero
  float* y;                        // (batch, channels, *2in)
};

}  // namespace msdk
