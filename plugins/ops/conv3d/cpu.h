// Conv3d on the CPU, float32. Arguments must have been checked (args.h has the shapes).
#pragma once

#include <vector>

#include "cpu/kernel_set.h"
#include "cpu/parallel.h"
#include "ops/conv3d/args.h"

namespace msdk::cpu {

// The weights as conv3d reads them, made once for a kernel set. For Winograd they take up to eight times their memory.
std::vector<float> pack_conv3d(const Conv3dArgs& args, const Kernels& isa = kernels());
// `packed` is what pack_conv3d gave; args.weight is not read.
void conv3d(const Conv3dArgs& args, const float* packed, const Parallel& parallel, const Kernels& isa = kernels());

}  // namespace msdk::cpu
