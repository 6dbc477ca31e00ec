// KanLinear: what an instruction set offers for it. C headers only, see cpu/isa.h.
#pragma once

#include "ops/kan_linear/args.h"

namespace msdk::cpu {

// Tokens of one task.
constexpr int64_t kKanTokens = 64;

struct KanLinearKernels {
  int64_t (*scratch)(const KanLinearArgs<float>&);  // bytes that a task needs
  void (*tokens)(const KanLinearArgs<float>&, int64_t batch, int64_t first_token, float* scratch);
};

}  // namespace msdk::cpu
