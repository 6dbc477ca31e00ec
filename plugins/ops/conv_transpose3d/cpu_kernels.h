// ConvTranspose3d: what an instruction set offers for it. C headers only, see cpu/isa.h.
#pragma once

#include "ops/conv_transpose3d/args.h"

namespace msdk::cpu {

// Some rows of x, counted over depth and height, and some blocks of (output channel, tap), the last one filled up.
struct ConvTranspose3dTask {
  int64_t batch, first_row, rows, first_block, blocks;
};

struct ConvTranspose3dKernels {
  int outputs;  // pairs of output channel and tap in a block
  int64_t (*scratch_floats)(const ConvTranspose3dArgs&, int64_t rows);
  void (*run)(const ConvTranspose3dArgs&, const float* weight, const ConvTranspose3dTask&, float* scratch);
  // `count` voxels from voxel `first` on of channel `channel` of an image's skip.
  void (*copy_skip)(const ConvTranspose3dArgs&, int64_t image, int64_t channel, int64_t first, int64_t count);
};

}  // namespace msdk::cpu
