// How a convolution's rows and blocks of output channels are cut into tasks.
#pragma once

#include "ops/conv3d/cpu_method.h"

namespace msdk::cpu {

struct Conv3dSplit {
  int64_t rows_of_plane, rows_of_task, tasks_of_plane, planes, row_tasks, block_groups, blocks_of_task;
  double time;  // until all tasks are done, in that of a block's products
};

// From the sizes and the number of threads alone.
Conv3dSplit split_of(const Conv3dArgs& args, const Conv3dMethod& method, int64_t threads, const Kernels& isa);

// Tap by tap: how many sums so many rows of a plane have.
inline int64_t rows_of_sums(int64_t rows) { return (rows + kRowsOfSums - 1) / kRowsOfSums; }

}  // namespace msdk::cpu
