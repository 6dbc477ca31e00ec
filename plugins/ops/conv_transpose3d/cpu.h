// ConvTranspose3d on the CPU, float32. Arguments must have been checked (args.h has the shapes).
#pragma once

#include <vector>

#include "cpu/kernel_set.h"
#include "cpu/parallel.h"
#include "ops/conv_transpose3d/args.h"

namespace msdk::cpu {

// The weights as conv_transpose3d reads them, made once for a kernel set.
std::vector<float> pack_conv_transpose3d(const ConvTranspose3dArgs& args, const Kernels& isa = kernels());
// `packed` is what pack_conv_transpose3d gave; args.weight is not read.
void conv_transpose3d(const ConvTranspose3dArgs& args, const float* packed, const Parallel& parallel,
                      const Kernels& isa = kernels());

}  // namespace msdk::cpu
