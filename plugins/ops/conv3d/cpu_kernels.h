// Conv3d: what an instruction set offers for it. C headers only, see cpu/isa.h.
#pragma once

#include "ops/conv3d/args.h"
#include "ops/instance_norm/cpu_kernels.h"

namespace msdk::cpu {

// The points of F(4, 3) are 0, +- these and infinity. All constants of its transforms are exact.
constexpr float kWinogradNear = 0.625f, kWinogradFar = 1.5f;
// With stride 2, those of F(4, 2) are +- these and infinity.
constexpr float kStridedNear = 0.5f, kStridedFar = 1.25f;
// Of a cube along an axis: of F(4, 3), or of F(4, 2) with the middle tap.
constexpr int kCubeWeights = 6;

// Tap by tap the sums of so many rows of a plane, or of its last ones, are one.
constexpr int64_t kRowsOfSums = 8;

// Some rows of y and some blocks of output channels, the last block of a group filled up. Rows count
// from 0 to depth * height; by Winograd, tiles of rows.
struct Conv3dTask {
  int64_t batch, first_row, rows, first_block, blocks;
  Sums* sums;          // of the rows of y, (batch, out_channels, sums_pitch), or null: not wanted
  int64_t sums_pitch;  // by Winograd tiles of rows
};

// A way to convolve: `weight` is packed for it (cpu.cpp).
struct Conv3dKernel {
  int64_t (*scratch_floats)(const Conv3dArgs&, int64_t rows);
  void (*run)(const Conv3dArgs&, const float* weight, const Conv3dTask&, float* scratch);
};

struct Conv3dKernels {
  int outputs;                          // channels of a block
  Conv3dKernel direct;                  // a task stays within a plane of y
  Conv3dKernel winograd_2, winograd_4;  // stride 1: rows are of tiles of 2 x 2, of 4 x 4 rows of y
  Conv3dKernel winograd_cube;           // stride 1, along width too: of 4 x 4
  Conv3dKernel winograd_strided;        // stride 2: of 2 x 2
  Conv3dKernel strided_cube;            // stride 2, along width too: of 4 x 4
};

}  // namespace msdk::cpu
