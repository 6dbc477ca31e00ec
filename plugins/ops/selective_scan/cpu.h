// BidirectionalSelectiveScan on the CPU, float32. Arguments must have been checked (args.h has the shapes).
#pragma once

#include "cpu/kernel_set.h"
#include "cpu/parallel.h"
#include "ops/selective_scan/args.h"

namespace msdk::cpu {

void selective_scan(const SelectiveScanArgs<float>& args, const Parallel& parallel, const Kernels& isa = kernels());

// Upper bound on the bytes of working memory that selective_scan uses, all threads together.
int64_t selective_scan_workspace(const SelectiveScanArgs<float>& args, int threads, const Kernels& isa = kernels());

}  // namespace msdk::cpu
