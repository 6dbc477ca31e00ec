#include "ops/directional_conv1d/cpu.h"

#include "cpu/kernels.h"

namespace msdk::cpu {

void directional_conv1d(const DirectionalConv1dArgs<float>& args, const Parallel& parallel, const Kernels& isa) {
  parallel(args.batch * args.directions.count * args.channels, [&](int64_t index) {
    const int64_t channel = index % args.channels, set = index / args.channels;
    isa.directional_conv1d.row(args, set / args.directions.count, static_cast<int>(set % args.directions.count),
                               channel);
  });
}

}  // namespace msdk::cpu
