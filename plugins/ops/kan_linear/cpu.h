// KanLinear on the CPU, float32. Arguments must have been checked (args.h has the shapes).
#pragma once

#include "cpu/kernel_set.h"
#include "cpu/parallel.h"
#include "ops/kan_linear/args.h"

namespace msdk::cpu {

void kan_linear(const KanLinearArgs<float>& args, const Parallel& parallel, const Kernels& isa = kernels());

}  // namespace msdk::cpu
