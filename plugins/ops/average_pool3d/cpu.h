// AveragePool3d on the CPU, float32. Arguments must have been checked (args.h has the shapes).
#pragma once

#include "cpu/kernel_set.h"
#include "cpu/parallel.h"
#include "ops/average_pool3d/args.h"

namespace msdk::cpu {

void average_pool3d(const AveragePool3dArgs& args, const Parallel& parallel, const Kernels& isa = kernels());

}  // namespace msdk::cpu
