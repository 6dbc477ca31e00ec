#include "ops/conv3d/cpu.h"

#include <algorithm>
#include <stdexcept>

#include "cpu/kernels.h"
#include "cpu/workspace.h"
#include "ops/conv3d/cpu_split.h"
#include "ops/instance_norm/cpu.h"
#include "ops/token_linear/cpu.h"

namespace msdk::cpu {
namespace {

// Adds up the sums of rows, (batch, out_channels, rows), in their order: the number of threads does not matter.
void join_sums(const Conv3dArgs& a, const std::vector<Sums>& sums, int64_t rows, const Parallel& parallel) {
  const double voxels = static_cast<double>(a.out[0] * a.out[1] * a.out[2]);
  parallel(a.batch * a.out_channels, [&](int64_t channel) {
    Sums all = {0, 0};
    for (const Sums* row = sums.data() + channel * rows; row < sums.data() + (channel + 1) * rows; ++row) {
      all.sum += row->sum, all.squares += row->squares;
    }
    const double mean = all.sum / voxels, variance = all.squares / voxels - mean * mean;
    a.moments[2 * channel] = mean;
    a.moments[2 * channel + 1] = variance < 0 ? 0 : variance;
  });
}

}  // namespace

void conv3d(const Conv3dArgs& a, const float* packed, const Parallel& parallel, const Kernels& isa) {
  if (a.batch == 0) return;
  if (is_linear(a)) {
    token_linear(as_linear(a), packed, parallel, isa);
    const int64_t voxels = a.out[0] * a.out[1] * a.out[2];
    if (a.moments) moments_of(a.y, a.batch * a.out_channels, voxels, a.moments, parallel, isa);
    return;
  }
  const Conv3dMethod method(a, isa);
  const Conv3dSplit split = split_of(a, method, parallel.threads(), isa);
  const int64_t scratch = method.kernel->scratch_floats(a, split.rows_of_task);
  if (scratch > INT32_MAX) throw std::length_error("conv3d: rows of this many channels and voxels do not fit a task");
  const int64_t rows = split.planes * (method.tile ? split.rows_of_plane : rows_of_sums(split.rows_of_plane));
  std::vector<Sums> sums(static_cast<size_t>(a.moments ? a.batch * a.out_channels * rows : 0));
  parallel(split.row_tasks * split.block_groups, [&](int64_t index) {
    Conv3dTask task;
    task.sums = a.moments ? sums.data() : nullptr;
    task.sums_pitch = rows;
    task.first_block = index % split.block_groups * split.blocks_of_task;
    task.blocks = std::min(split.blocks_of_task, method.blocks - task.first_block);
    index /= split.block_groups;
    const int64_t first = index % split.tasks_of_plane * split.rows_of_task;
    index /= split.tasks_of_plane;
    task.rows = std::min(split.rows_of_task, split.rows_of_plane - first);
    task.first_row = index % split.planes * split.rows_of_plane + first;
    task.batch = index / split.planes;
    method.kernel->run(a, packed, task, task_scratch(scratch * static_cast<int64_t>(sizeof(float))));
  });
  if (a.moments) join_sums(a, sums, rows, parallel);
}

}  // namespace msdk::cpu
