// The kernels of one instruction set: tasks small enough to be spread over threads, each independent of the others.
#pragma once

#include "../contract.h"

namespace msdk::cpu {

// Steps of the scan handled together: the tile's rows of dt, B and C stay in the L1 cache for a block of channels.
constexpr int64_t kTileSteps = 128;
// Tokens of one KanLinear task.
constexpr int64_t kKanTokens = 64;
// Tokens of one TokenNorm task: long enough runs of each channel's memory, which then stay in the L2 cache.
constexpr int64_t kNormTokens = 256;

// A directed scan of some channel blocks over steps [begin, end), counted in the unreversed order of its direction.
// A channel block is `lanes` channels. `state` holds (blocks, states, lanes) floats, zero-padded past the last
// channel: h before the first step on entry, h after the last on return.
struct ScanTask {
  int64_t batch, first_block, blocks, begin, end;
  int direction;
  bool accumulate;  // add to y, where an earlier direction has been
  bool finish;      // the last direction to come here: apply the gate and the scale
  float* state;
  float* delta_sum;  // (blocks, lanes): sum of delta, written by scan_summary
};

// Some rows of y and some blocks of conv3d_outputs output channels, the last block of a group filled up. Rows count
// from 0 to depth * height; by Winograd, tiles of rows.
struct Conv3dTask {
  int64_t batch, first_row, rows, first_block, blocks;
};

// A way to convolve: `weight` is packed for it (conv3d.cpp).
struct Conv3dKernel {
  int64_t (*scratch_floats)(const Conv3dArgs&, int64_t rows);
  void (*run)(const Conv3dArgs&, const float* weight, const Conv3dTask&, float* scratch);
};

struct Kernels {
  const char* name;
  int lanes;
  // Bytes of scratch memory a thread needs for one task.
  int64_t (*scan_scratch)(const SelectiveScanArgs<float>&, int64_t blocks);
  int64_t (*kan_scratch)(const KanLinearArgs<float>&);
  void (*scan)(const SelectiveScanArgs<float>&, const ScanTask&, float* scratch);
  // As scan, but writes no y: only the end state and delta_sum.
  void (*scan_summary)(const SelectiveScanArgs<float>&, const ScanTask&, float* scratch);
  // outgoing = exp(A * delta_sum) * incoming + state: one channel block's state after the task's steps, from the
  // state before them.
  void (*scan_carry)(const SelectiveScanArgs<float>&, const ScanTask&, const float* incoming, float* outgoing);
  void (*conv_row)(const DirectionalConv1dArgs<float>&, int64_t batch, int direction, int64_t channel);
  void (*kan_tokens)(const KanLinearArgs<float>&, int64_t batch, int64_t first_token, float* scratch);
  void (*norm_tokens)(const TokenNormArgs&, int64_t batch, int64_t first_token);
  int conv3d_outputs;
  Conv3dKernel conv3d_direct;                         // a task stays within a plane of y
  Conv3dKernel conv3d_winograd_2, conv3d_winograd_4;  // rows are of tiles of 2 x 2, of 4 x 4 rows of y
  int64_t (*upsample_scratch)(const TrilinearUpsampleArgs&);
  // Planes of y, counted over batch and channels too.
  void (*upsample_planes)(const TrilinearUpsampleArgs&, int64_t first, int64_t count, float* scratch);
};

// The sets this processor has, fastest first.
struct KernelSets {
  int count = 0;
  const Kernels* items[3] = {};
};
KernelSets available_kernels();

// The fastest set. The environment variable MSDK_RT_CPU_KERNELS (avx512, avx2, baseline) asks for another of those
// available; any other value is ignored.
const Kernels& kernels();

}  // namespace msdk::cpu
