#include "ops/token_norm/cpu.h"

#include "cpu/kernels.h"

namespace msdk::cpu {

void token_norm(const TokenNormArgs<float>& args, const Parallel& parallel, const Kernels& isa) {
  const int64_t tiles = (args.length + kNormTokens - 1) / kNormTokens;
  parallel(args.batch * tiles,
           [&](int64_t index) { isa.token_norm.tokens(args, index / tiles, index % tiles * kNormTokens); });
}

}  // namespace msdk::cpu
