// TokenNorm: what an instruction set offers for it. C headers only, see cpu/isa.h.
#pragma once

#include "ops/token_norm/args.h"

namespace msdk::cpu {

// Tokens of one task: long enough runs of each channel's memory, which then stay in the L2 cache.
constexpr int64_t kNormTokens = 256;

struct TokenNormKernels {
  void (*tokens)(const TokenNormArgs<float>&, int64_t batch, int64_t first_token);
};

}  // namespace msdk::cpu
