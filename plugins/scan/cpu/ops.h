// The msdk ops on the CPU, float32. Arguments must have been checked (see contract.h for the shapes).
#pragma once

#include <vector>

#include "../contract.h"
#include "kernels.h"
#include "parallel.h"

namespace msdk::cpu {

void directional_conv1d(const DirectionalConv1dArgs<float>& args, const Parallel& parallel,
                        const Kernels& isa = kernels());
void selective_scan(const SelectiveScanArgs<float>& args, const Parallel& parallel, const Kernels& isa = kernels());
void kan_linear(const KanLinearArgs<float>& args, const Parallel& parallel, const Kernels& isa = kernels());
void token_norm(const TokenNormArgs& args, const Parallel& parallel, const Kernels& isa = kernels());

// The weights as conv3d reads them, made once for a kernel set. For Winograd they take up to four times their memory.
std::vector<float> pack_conv3d(const Conv3dArgs& args, const Kernels& isa = kernels());
// `packed` is what pack_conv3d gave; args.weight is not read.
void conv3d(const Conv3dArgs& args, const float* packed, const Parallel& parallel, const Kernels& isa = kernels());

void trilinear_upsample(const TrilinearUpsampleArgs& args, const Parallel& parallel, const Kernels& isa = kernels());

// Upper bound on the bytes of working memory that selective_scan uses, all threads together.
int64_t selective_scan_workspace(const SelectiveScanArgs<float>& args, int threads, const Kernels& isa = kernels());

}  // namespace msdk::cpu
