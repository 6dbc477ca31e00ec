// Products of small matrices, whose pieces the lanes of a warp hold.
#pragma once

#include "thread.h"

namespace ptx_machine {

// mma.sync.aligned.m16n8kK.row.col.f32.f16.f16.f32, K of 8 or 16: sums + a b. `a` has K / 4 registers, `b` K / 8.
PTX_MACHINE_API void multiply_matrices(Thread&, int K, const uint32_t* a, const uint32_t* b, float* sums);

}  // namespace ptx_machine
