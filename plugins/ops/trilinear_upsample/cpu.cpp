#include "ops/trilinear_upsample/cpu.h"

#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/workspace.h"

namespace msdk::cpu {
namespace {

constexpr int64_t kLeastVoxels = 1 << 14;  // of a task
constexpr int kTasksPerThread = 8;

}  // namespace

void trilinear_upsample(const TrilinearUpsampleArgs& a, const Parallel& parallel, const Kernels& isa) {
  if (a.batch == 0 || a.channels == 0) return;
  const int64_t planes = a.batch * a.channels * 2 * a.in[0], voxels = 4 * a.in[1] * a.in[2];
  const int64_t tasks = kTasksPerThread * parallel.threads();
  const int64_t of_task = std::max((planes + tasks - 1) / tasks, (kLeastVoxels + voxels - 1) / voxels);
  parallel((planes + of_task - 1) / of_task, [&](int64_t index) {
    const int64_t first = index * of_task;
    isa.trilinear_upsample.planes(a, first, std::min(of_task, planes - first),
                                  task_scratch(isa.trilinear_upsample.scratch(a)));
  });
}

}  // namespace msdk::cpu
