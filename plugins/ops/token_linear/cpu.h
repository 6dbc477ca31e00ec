// TokenLinear on the CPU, float32. Arguments must have been checked (args.h has the shapes).
#pragma once

#include <vector>

#include "cpu/kernel_set.h"
#include "cpu/parallel.h"
#include "ops/token_linear/args.h"

namespace msdk::cpu {

// The weights as token_linear reads them, made once for a kernel set.
std::vector<float> pack_token_linear(const TokenLinearArgs& args, const Kernels& isa = kernels());
// `packed` is what pack_token_linear gave; args.weight is not read.
void token_linear(const TokenLinearArgs& args, const float* packed, const Parallel& parallel,
                  const Kernels& isa = kernels());

}  // namespace msdk::cpu
