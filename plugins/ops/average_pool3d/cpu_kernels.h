// AveragePool3d: what an instruction set offers for it. C headers only, see cpu/isa.h.
#pragma once

#include "ops/average_pool3d/args.h"

namespace msdk::cpu {

struct AveragePool3dKernels {
  // Rows of y, counted over planes, channels and batch too.
  void (*rows)(const AveragePool3dArgs&, int64_t first, int64_t count);
};

}  // namespace msdk::cpu
