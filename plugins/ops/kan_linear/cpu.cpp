#include "ops/kan_linear/cpu.h"

#include "cpu/kernels.h"
#include "cpu/workspace.h"

namespace msdk::cpu {

void kan_linear(const KanLinearArgs<float>& args, const Parallel& parallel, const Kernels& isa) {
  const int64_t tiles = (args.length + kKanTokens - 1) / kKanTokens;
  parallel(args.batch * tiles, [&](int64_t index) {
    isa.kan_linear.tokens(args, index / tiles, index % tiles * kKanTokens, task_scratch(isa.kan_linear.scratch(args)));
  });
}

}  // namespace msdk::cpu
