// InstanceNorm on the CPU, float32. Arguments must have been checked (args.h has the shapes).
#pragma once

#include "cpu/kernel_set.h"
#include "cpu/parallel.h"
#include "ops/instance_norm/args.h"

namespace msdk::cpu {

void instance_norm(const InstanceNormArgs<float>& args, const Parallel& parallel, const Kernels& isa = kernels());

}  // namespace msdk::cpu
