#include "ops/average_pool3d/cpu.h"

#include <algorithm>

#include "cpu/kernels.h"

namespace msdk::cpu {
namespace {

constexpr int64_t kLeastVoxels = 1 << 15;  // of x, of a task
constexpr int kTasksPerThread = 8;

}  // namespace

void average_pool3d(const AveragePool3dArgs& a, const Parallel& parallel, const Kernels& isa) {
  const int64_t rows = a.batch * a.channels * (a.in[0] / a.kernel[0]) * (a.in[1] / a.kernel[1]);
  const int64_t voxels = a.kernel[0] * a.kernel[1] * a.in[2], tasks = kTasksPerThread * parallel.threads();
  const int64_t of_task = std::max((rows + tasks - 1) / tasks, (kLeastVoxels + voxels - 1) / voxels);
  parallel((rows + of_task - 1) / of_task, [&](int64_t index) {
    const int64_t first = index * of_task;
    isa.average_pool3d.rows(a, first, std::min(of_task, rows - first));
  });
}

}  // namespace msdk::cpu
