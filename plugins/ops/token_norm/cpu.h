// TokenNorm on the CPU, float32. Arguments must have been checked (args.h has the shapes).
#pragma once

#include "cpu/kernel_set.h"
#include "cpu/parallel.h"
#include "ops/token_norm/args.h"

namespace msdk::cpu {

void token_norm(const TokenNormArgs<float>& args, const Parallel& parallel, const Kernels& isa = kernels());

}  // namespace msdk::cpu
