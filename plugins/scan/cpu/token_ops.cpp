#include "ops.h"
#include "workspace.h"

namespace msdk::cpu {

void directional_conv1d(const DirectionalConv1dArgs<float>& args, const Parallel& parallel, const Kernels& isa) {
  parallel(args.batch * args.directions.count * args.channels, [&](int64_t index) {
    const int64_t channel = index % args.channels, set = index / args.channels;
    isa.conv_row(args, set / args.directions.count, static_cast<int>(set % args.directions.count), channel);
  });
}

void kan_linear(const KanLinearArgs<float>& args, const Parallel& parallel, const Kernels& isa) {
  const int64_t tiles = (args.length + kKanTokens - 1) / kKanTokens;
  parallel(args.batch * tiles, [&](int64_t index) {
    isa.kan_tokens(args, index / tiles, index % tiles * kKanTokens, task_scratch(isa.kan_scratch(args)));
  });
}

void token_norm(const TokenNormArgs& args, const Parallel& parallel, const Kernels& isa) {
  const int64_t tiles = (args.length + kNormTokens - 1) / kNormTokens;
  parallel(args.batch * tiles,
           [&](int64_t index) { isa.norm_tokens(args, index / tiles, index % tiles * kNormTokens); });
}

}  // namespace msdk::cpu
