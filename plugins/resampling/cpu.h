// Resampling on the CPU, float32. Arguments must have been checked (args.h has the shapes).
#pragma once

#include "cpu/kernel_set.h"
#include "cpu/parallel.h"
#include "resampling/args.h"

namespace msdk::cpu {

// out (channels, *out). Works in one channel's spline coefficients, where an axis takes them. False where a voxel of
// data that is to be clipped is not finite; out is undefined then.
bool resample(const ResamplingArgs& args, float* out, const Parallel& parallel, const Kernels& isa = kernels());

// Labels straight from the data: the resampled channels never exist. Works in the spline coefficients of all channels,
// where an axis takes them. False as above.
bool resample_to_labels(const ResamplingArgs& args, const LabelArgs& labels, const Parallel& parallel,
                        const Kernels& isa = kernels());

}  // namespace msdk::cpu
