// InstanceNorm on the CPU, float32. Arguments must have been checked (args.h has the shapes).
#pragma once

#include <vector>

#include "cpu/kernel_set.h"
#include "cpu/parallel.h"
#include "ops/input_norm.h"
#include "ops/instance_norm/args.h"

namespace msdk::cpu {

void instance_norm(const InstanceNormArgs<float>& args, const Parallel& parallel, const Kernels& isa = kernels());

// Mean and variance of each of `maps` runs of `voxels` numbers, at least one: (maps, 2).
void moments_of(const float* x, int64_t maps, int64_t voxels, double* moments, const Parallel& parallel,
                const Kernels& isa = kernels());

// A norm of x, (batch, channels, voxels), for an op that applies it as it reads x.
struct NormOfInput {
  const float* weight;    // (channels)
  const float* bias;      // (channels)
  const double* moments;  // (batch, channels, 2): mean and variance of x, or null: they are added up here
  float epsilon;
};
// (batch, channels), for InputNorm.
std::vector<Normalisation> normalisations(const NormOfInput& norm, const float* x, int64_t batch, int64_t channels,
                                          int64_t voxels, const Parallel& parallel, const Kernels& isa = kernels());

}  // namespace msdk::cpu
