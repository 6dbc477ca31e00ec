// The msdk ops on the CPU, float32. Arguments must have been checked (see contract.h for the shapes).
#pragma once

#include "../contract.h"
#include "kernels.h"
#include "parallel.h"

namespace msdk::cpu {

void directional_conv1d(const DirectionalConv1dArgs<float>& args, const Parallel& parallel,
                        const Kernels& isa = kernels());
void selective_scan(const SelectiveScanArgs<float>& args, const Parallel& parallel, const Kernels& isa = kernels());
void kan_linear(const KanLinearArgs<float>& args, const Parallel& parallel, const Kernels& isa = kernels());

// Upper bound on the bytes of working memory that selective_scan uses, all threads together.
int64_t selective_scan_workspace(const SelectiveScanArgs<float>& args, int threads, const Kernels& isa = kernels());

}  // namespace msdk::cpu
