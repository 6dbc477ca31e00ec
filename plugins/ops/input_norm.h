// A norm and an activation that an op applies to an input as it reads it, so that nothing normalised is in memory.
#pragma once

#include <cstdint>

namespace msdk {

// How a channel of an image is read: (x - high - low) * scale + shift. high + low is the mean, to twice a float's
// digits.
struct Normalisation {
  float high, low, scale, shift;
};

// What is below 0 then is multiplied by `slope`: 0 is ReLU, 1 no activation.
struct InputNorm {
  const Normalisation* channels = nullptr;  // (batch, channels), or null: the input is read as it is
  float slope = 1;
};

}  // namespace msdk
