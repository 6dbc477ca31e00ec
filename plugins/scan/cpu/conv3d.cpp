#include <algorithm>
#include <stdexcept>

#include "ops.h"
#include "workspace.h"

namespace msdk::cpu {
namespace {

// A task's copies of x stay in the L2 cache, and its rows are enough for the weights to be read a few times only.
constexpr int64_t kCopiesBytes = 384 << 10, kLeastVoxels = 128;
constexpr int kTasksPerThread = 4;

bool all_are(const int64_t (&sides)[3], int64_t value) {
  return sides[0] == value && sides[1] == value && sides[2] == value;
}

bool by_winograd(const Conv3dArgs& a) {
  return a.groups == 1 && all_are(a.kernel, 3) && all_are(a.stride, 1) && all_are(a.before, 1) && all_are(a.after, 1);
}

// Output channels that are computed together.
int outputs_of_block(const Conv3dArgs& a, const Kernels& isa) {
  return a.out_channels == a.groups && !by_winograd(a) ? 1 : isa.conv3d_outputs;
}

int64_t blocks_of(const Conv3dArgs& a, const Kernels& isa) {
  const int outputs = outputs_of_block(a, isa);
  return a.groups * ((a.out_channels / a.groups + outputs - 1) / outputs);
}

// G of F(2, 3): three taps as four points.
void transform_taps(const float taps[3], float points[4]) {
  points[0] = taps[0];
  points[1] = (taps[0] + taps[1] + taps[2]) / 2;
  points[2] = (taps[0] - taps[1] + taps[2]) / 2;
  points[3] = taps[2];
}

// (3, 3) taps along depth and height, `step` floats apart, as 4 x 4 points.
void transform_plane(const float* taps, int step, float points[4][4]) {
  float half[3][4];
  for (int d = 0; d < 3; ++d) {
    const float row[3] = {taps[3 * d * step], taps[(3 * d + 1) * step], taps[(3 * d + 2) * step]};
    transform_taps(row, half[d]);
  }
  for (int h = 0; h < 4; ++h) {
    const float column[3] = {half[0][h], half[1][h], half[2][h]};
    float along_depth[4];
    transform_taps(column, along_depth);
    for (int d = 0; d < 4; ++d) points[d][h] = along_depth[d];
  }
}

struct Split {
  int64_t rows, rows_of_plane, rows_of_task, tasks_of_plane, planes, row_tasks, block_groups, blocks_of_task;
};

// How rows and blocks of output channels are cut into tasks: from the sizes and the number of threads alone.
Split split_of(const Conv3dArgs& a, const Conv3dKernel& kernel, int64_t blocks, int threads, bool winograd) {
  Split split;
  split.planes = winograd ? 1 : a.out[0];
  split.rows_of_plane = winograd ? (a.in[0] + 1) / 2 * ((a.in[1] + 1) / 2) : a.out[1];
  const int64_t width = a.out[2] + 1;
  const int64_t one = kernel.scratch_floats(a, 1), two = kernel.scratch_floats(a, 2);
  const int64_t wanted = std::max<int64_t>(kCopiesBytes / 4 / std::max<int64_t>(two - one, 1), 1);
  const int64_t least = (kLeastVoxels + width - 1) / width;
  const int64_t tasks = kTasksPerThread * threads;
  const int64_t for_threads = (split.rows_of_plane * split.planes * a.batch + tasks - 1) / tasks;
  split.rows_of_task = std::clamp<int64_t>(std::max(std::min(wanted, for_threads), least), 1, split.rows_of_plane);
  split.tasks_of_plane = (split.rows_of_plane + split.rows_of_task - 1) / split.rows_of_task;
  split.row_tasks = a.batch * split.planes * split.tasks_of_plane;
  // Each group of blocks transforms or copies its rows of x again: only where there are too few tasks otherwise, or
  // where the groups of the convolution read other channels anyway.
  const int64_t groups = a.groups > 1 ? blocks : (tasks + split.row_tasks - 1) / split.row_tasks;
  split.blocks_of_task = std::max<int64_t>(blocks / std::max<int64_t>(groups, 1), 1);
  split.block_groups = (blocks + split.blocks_of_task - 1) / split.blocks_of_task;
  return split;
}

}  // namespace

// Winograd: (block, 16 points, in_channels, 3 taps along width, outputs of a block). Otherwise: (block, in_channels of
// a group, taps, outputs of a block). Outputs past a group's last are 0.
std::vector<float> pack_conv3d(const Conv3dArgs& a, const Kernels& isa) {
  const bool winograd = by_winograd(a);
  const int64_t channels = a.in_channels / a.groups, taps = a.kernel[0] * a.kernel[1] * a.kernel[2];
  const int64_t outputs = a.out_channels / a.groups, width = outputs_of_block(a, isa), blocks = blocks_of(a, isa);
  const int64_t blocks_of_group = blocks / a.groups, block_floats = channels * (winograd ? 48 : taps) * width;
  std::vector<float> packed(static_cast<size_t>(blocks * block_floats));
  for (int64_t o = 0; o < a.out_channels; ++o) {
    const int64_t in_group = o % outputs, block = o / outputs * blocks_of_group + in_group / width;
    float* to = packed.data() + block * block_floats + in_group % width;
    for (int64_t c = 0; c < channels; ++c) {
      const float* from = a.weight + (o * channels + c) * taps;
      if (!winograd) {
        for (int64_t tap = 0; tap < taps; ++tap) to[(c * taps + tap) * width] = from[tap];
        continue;
      }
      for (int tap = 0; tap < 3; ++tap) {
        float points[4][4];
        transform_plane(from + tap, 3, points);
        for (int64_t point = 0; point < 16; ++point) {
          to[((point * channels + c) * 3 + tap) * width] = points[point / 4][point % 4];
        }
      }
    }
  }
  return packed;
}

void conv3d(const Conv3dArgs& a, const float* packed, const Parallel& parallel, const Kernels& isa) {
  if (a.batch == 0) return;
  const bool winograd = by_winograd(a);
  const Conv3dKernel& kernel = winograd ? isa.conv3d_winograd : isa.conv3d_direct;
  const int64_t blocks = blocks_of(a, isa);
  const Split split = split_of(a, kernel, blocks, parallel.threads(), winograd);
  const int64_t scratch = kernel.scratch_floats(a, split.rows_of_task);
  if (scratch > INT32_MAX) throw std::length_error("conv3d: rows of this many channels and voxels do not fit a task");
  parallel(split.row_tasks * split.block_groups, [&](int64_t index) {
    Conv3dTask task;
    task.first_block = index % split.block_groups * split.blocks_of_task;
    task.blocks = std::min(split.blocks_of_task, blocks - task.first_block);
    index /= split.block_groups;
    const int64_t first = index % split.tasks_of_plane * split.rows_of_task;
    index /= split.tasks_of_plane;
    task.rows = std::min(split.rows_of_task, split.rows_of_plane - first);
    task.first_row = index % split.planes * split.rows_of_plane + first;
    task.batch = index / split.planes;
    kernel.run(a, packed, task, task_scratch(scratch * static_cast<int64_t>(sizeof(float))));
  });
}

}  // namespace msdk::cpu
