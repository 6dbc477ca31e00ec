// Products of small matrices, whose pieces the lanes of a warp hold.
#pragma once

#include "thread.h"

namespace ptx_machine {

// mma.sync.aligned.m16n8kK.row.col.f32.f16.f16.f32, K of 8 or 16: sums + a b. `a` has K / 4 registers, `b` K / 8.
PTX_MACHINE_API void multiply_matrices(Thread&, int K, const uint32_t* a, const uint32_t* b, float* sums);

// ldmatrix.sync.aligned.m8n8.x4.shared.b16: lane 8i + j gives the address of row j of matrix i, 16 bytes, and gets word
// lane % 4 of row lane / 4 of each.
PTX_MACHINE_API void load_matrices(Thread&, uint32_t address, uint32_t* words);

}  // namespace ptx_machine
