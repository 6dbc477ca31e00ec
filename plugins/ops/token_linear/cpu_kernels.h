// TokenLinear: what an instruction set offers for it. C headers only, see cpu/isa.h.
#pragma once

#include "ops/token_linear/args.h"

namespace msdk::cpu {

struct TokenLinearKernels {
  // Outputs of a block, so that blocks are full or nearly so.
  int (*outputs_of_block)(int64_t outputs);
  int64_t (*scratch_floats)(const TokenLinearArgs&, int64_t tokens);
  // `count` tokens from `begin` on of a set, counted over the batch too. weight: (block, in_channels, outputs of a
  // block) of the set.
  void (*tokens)(const TokenLinearArgs&, const float* weight, int64_t set, int64_t begin, int64_t count,
                 float* scratch);
};

}  // namespace msdk::cpu
