// BidirectionalSelectiveScan: what an instruction set offers for it. C headers only, see cpu/isa.h.
#pragma once

#include "ops/selective_scan/args.h"

namespace msdk::cpu {

// Steps handled together: the tile's rows of dt, B and C stay in the L1 cache for a block of channels.
constexpr int64_t kTileSteps = 128;

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

struct SelectiveScanKernels {
  int64_t (*scratch)(const SelectiveScanArgs<float>&, int64_t blocks);  // bytes that a task needs
  void (*scan)(const SelectiveScanArgs<float>&, const ScanTask&, float* scratch);
  // As scan, but writes no y: only the end state and delta_sum.
  void (*summary)(const SelectiveScanArgs<float>&, const ScanTask&, float* scratch);
  // outgoing = exp(A * delta_sum) * incoming + state: one channel block's state after the task's steps, from the
  // state before them.
  void (*carry)(const SelectiveScanArgs<float>&, const ScanTask&, const float* incoming, float* outgoing);
};

}  // namespace msdk::cpu
