// DirectionalConv1d: what an instruction set offers for it. C headers only, see cpu/isa.h.
#pragma once

#include "ops/directional_conv1d/args.h"

namespace msdk::cpu {

// One channel of one direction.
struct DirectionalConv1dKernels {
  void (*row)(const DirectionalConv1dArgs<float>&, int64_t batch, int direction, int64_t channel);
};

}  // namespace msdk::cpu
