#include "ops/conv3d/cpu.h"

#include <algorithm>
#include <stdexcept>

#include "cpu/kernels.h"
#include "cpu/workspace.h"

namespace msdk::cpu {
namespace {

// A task's copies of x stay in the L2 cache, and its rows are enough for the weights to be read a few times only.
constexpr int64_t kCopiesBytes = 192 << 10, kLeastVoxels = 128;
constexpr int kTasksPerThread = 4;
// Pairs of channels up to which weights may take four times their memory: beyond it they, not x, are what is read.
constexpr int64_t kMostPairs = 256 * 256;

// Three taps at the points of F(T, 3): values of the polynomial with these coefficients, each over the product of its
// point's distances from the others; the last point is infinity.
constexpr double kPoints2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
constexpr double kNear = 3.0 / 4, kFar = 3.0 / 2, kNear2 = kNear * kNear, kFar2 = kFar * kFar;
constexpr double kOfNear = 1 / (2 * kNear2 * (kNear2 - kFar2)), kOfFar = 1 / (2 * kFar2 * (kFar2 - kNear2));
constexpr double kPoints4[6][3] = {{1 / (kNear2 * kFar2), 0, 0},
                                   {kOfNear, kNear * kOfNear, kNear2 * kOfNear},
                                   {kOfNear, -kNear * kOfNear, kNear2 * kOfNear},
                                   {kOfFar, kFar * kOfFar, kFar2 * kOfFar},
                                   {kOfFar, -kFar * kOfFar, kFar2 * kOfFar},
                                   {0, 0, 1}};
// With stride 2: the outer taps at the points 0, 1 and infinity, the middle one for each of two voxels of y.
constexpr double kPointsStrided[5][3] = {{1, 0, 0}, {1, 0, 1}, {0, 0, 1}, {0, 1, 0}, {0, 1, 0}};

// How a convolution is done: `tile` is T, the voxels of y that Winograd's kernels give at once along depth and along
// height from `side` points, or 0: tap by tap.
struct Method {
  int tile = 0, side = 0;
  int outputs;  // of a block
  int64_t blocks, block_floats;
  const Conv3dKernel* kernel;
  const double (*points)[3] = nullptr;

  Method(const Conv3dArgs& a, const Kernels& isa) {
    const bool same = all_are(a.kernel, 3) && all_are(a.before, 1) && all_are(a.after, 1) && a.groups == 1;
    const bool few = a.in_channels * a.out_channels <= kMostPairs;
    if (same && all_are(a.stride, 1)) {
      tile = few ? 4 : 2, side = tile + 2;
      kernel = few ? &isa.conv3d.winograd_4 : &isa.conv3d.winograd_2;
      points = few ? kPoints4 : kPoints2;
    } else if (same && few && all_are(a.stride, 2)) {
      tile = 2, side = 5;
      kernel = &isa.conv3d.winograd_strided;
      points = kPointsStrided;
    } else {
      kernel = &isa.conv3d.direct;
    }
    outputs = a.out_channels == a.groups && tile == 0 ? 1 : isa.conv3d.outputs;
    blocks = a.groups * ((a.out_channels / a.groups + outputs - 1) / outputs);
    const int64_t taps = tile ? 3 * side * side : a.kernel[0] * a.kernel[1] * a.kernel[2];
    block_floats = a.in_channels / a.groups * taps * outputs;
  }

  static bool all_are(const int64_t (&sides)[3], int64_t value) {
    return sides[0] == value && sides[1] == value && sides[2] == value;
  }
};

// The weight of a pair of channels and a tap along width at a point along depth and one along height.
float at_points(const float* taps, const double (&depth)[3], const double (&height)[3]) {
  double sum = 0;
  for (int d = 0; d < 3; ++d) {
    for (int h = 0; h < 3; ++h) sum += depth[d] * height[h] * taps[9 * d + 3 * h];
  }
  return static_cast<float>(sum);
}

struct Split {
  int64_t rows_of_plane, rows_of_task, tasks_of_plane, planes, row_tasks, block_groups, blocks_of_task;
};

// How rows and blocks of output channels are cut into tasks: from the sizes and the number of threads alone.
Split split_of(const Conv3dArgs& a, const Method& method, int threads) {
  Split split;
  split.planes = method.tile ? 1 : a.out[0];
  split.rows_of_plane = a.out[1];
  if (const int64_t tile = method.tile) {
    split.rows_of_plane = (a.out[0] + tile - 1) / tile * ((a.out[1] + tile - 1) / tile);
  }
  const int64_t width = a.out[2] + 1;
  const int64_t one = method.kernel->scratch_floats(a, 1), two = method.kernel->scratch_floats(a, 2);
  const int64_t wanted = std::max<int64_t>(kCopiesBytes / 4 / std::max<int64_t>(two - one, 1), 1);
  const int64_t least = (kLeastVoxels + width - 1) / width;
  const int64_t tasks = kTasksPerThread * threads;
  const int64_t for_threads = (split.rows_of_plane * split.planes * a.batch + tasks - 1) / tasks;
  split.rows_of_task = std::clamp<int64_t>(std::max(std::min(wanted, for_threads), least), 1, split.rows_of_plane);
  split.tasks_of_plane = (split.rows_of_plane + split.rows_of_task - 1) / split.rows_of_task;
  split.row_tasks = a.batch * split.planes * split.tasks_of_plane;
  // Each group of blocks transforms or copies its rows of x again: only where there are too few tasks otherwise, or
  // where the groups of the convolution read other channels anyway.
  const int64_t groups = a.groups > 1 ? method.blocks : (tasks + split.row_tasks - 1) / split.row_tasks;
  split.blocks_of_task = std::max<int64_t>(method.blocks / std::max<int64_t>(groups, 1), 1);
  split.block_groups = (method.blocks + split.blocks_of_task - 1) / split.blocks_of_task;
  return split;
}

}  // namespace

// By Winograd: (block, points, in_channels, 3 taps along width, outputs of a block). Tap by tap: (block, in_channels of
// a group, taps, outputs of a block). Outputs past a group's last are 0.
std::vector<float> pack_conv3d(const Conv3dArgs& a, const Kernels& isa) {
  const Method method(a, isa);
  const int64_t channels = a.in_channels / a.groups, taps = a.kernel[0] * a.kernel[1] * a.kernel[2];
  const int64_t outputs = a.out_channels / a.groups, of_block = method.outputs;
  const int64_t blocks_of_group = method.blocks / a.groups, side = method.side;
  std::vector<float> packed(static_cast<size_t>(method.blocks * method.block_floats));
  for (int64_t o = 0; o < a.out_channels; ++o) {
    const int64_t in_group = o % outputs, block = o / outputs * blocks_of_group + in_group / of_block;
    float* to = packed.data() + block * method.block_floats + in_group % of_block;
    for (int64_t c = 0; c < channels; ++c) {
      const float* from = a.weight + (o * channels + c) * taps;
      if (method.tile == 0) {
        for (int64_t tap = 0; tap < taps; ++tap) to[(c * taps + tap) * of_block] = from[tap];
        continue;
      }
      for (int64_t point = 0; point < side * side; ++point) {
        for (int tap = 0; tap < 3; ++tap) {
          to[((point * channels + c) * 3 + tap) * of_block] =
              at_points(from + tap, method.points[point / side], method.points[point % side]);
        }
      }
    }
  }
  return packed;
}

void conv3d(const Conv3dArgs& a, const float* packed, const Parallel& parallel, const Kernels& isa) {
  if (a.batch == 0) return;
  const Method method(a, isa);
  const Split split = split_of(a, method, parallel.threads());
  const int64_t scratch = method.kernel->scratch_floats(a, split.rows_of_task);
  if (scratch > INT32_MAX) throw std::length_error("conv3d: rows of this many channels and voxels do not fit a task");
  parallel(split.row_tasks * split.block_groups, [&](int64_t index) {
    Conv3dTask task;
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
}

}  // namespace msdk::cpu
