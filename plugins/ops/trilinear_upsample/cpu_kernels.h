// TrilinearUpsample: what an instruction set offers for it. C headers only, see cpu/isa.h.
#pragma once

#include "ops/trilinear_upsample/args.h"

namespace msdk::cpu {

struct TrilinearUpsampleKernels {
  int64_t (*scratch)(const TrilinearUpsampleArgs&);  // bytes that a task needs
  // Planes of y, counted over batch and channels too.
  void (*planes)(const TrilinearUpsampleArgs&, int64_t first, int64_t count, float* scratch);
};

}  // namespace msdk::cpu
