// The kernels of one instruction set: tasks small enough to be spread over threads, each independent of the others.
#pragma once

#include "cpu/kernel_set.h"
#include "ops/average_pool3d/cpu_kernels.h"
#include "ops/conv3d/cpu_kernels.h"
#include "ops/conv_transpose3d/cpu_kernels.h"
#include "ops/directional_conv1d/cpu_kernels.h"
#include "ops/instance_norm/cpu_kernels.h"
#include "ops/kan_linear/cpu_kernels.h"
#include "ops/selective_scan/cpu_kernels.h"
#include "ops/token_linear/cpu_kernels.h"
#include "ops/token_norm/cpu_kernels.h"
#include "ops/trilinear_upsample/cpu_kernels.h"
#include "resampling/cpu_kernels.h"
#include "resampling/sums_kernels.h"

namespace msdk::cpu {

// A set of kernels. To add an op: its table here, and at the end of isa_kernels.inc.
struct Kernels {
  const char* name;
  int lanes;
  DirectionalConv1dKernels directional_conv1d;
  SelectiveScanKernels selective_scan;
  KanLinearKernels kan_linear;
  Conv3dKernels conv3d;
  ConvTranspose3dKernels conv_transpose3d;
  TokenLinearKernels token_linear;
  TokenNormKernels token_norm;
  TrilinearUpsampleKernels trilinear_upsample;
  AveragePool3dKernels average_pool3d;
  InstanceNormKernels instance_norm;
  ResamplingKernels resampling;
  SumsKernels sums;
};

// The sets this processor has, fastest first.
struct KernelSets {
  int count = 0;
  const Kernels* items[3] = {};
};
KernelSets available_kernels();

}  // namespace msdk::cpu
