// DirectionalConv1d on the CPU, float32. Arguments must have been checked (args.h has the shapes).
#pragma once

#include "cpu/kernel_set.h"
#include "cpu/parallel.h"
#include "ops/directional_conv1d/args.h"

namespace msdk::cpu {

void directional_conv1d(const DirectionalConv1dArgs<float>& args, const Parallel& parallel,
                        const Kernels& isa = kernels());

}  // namespace msdk::cpu
