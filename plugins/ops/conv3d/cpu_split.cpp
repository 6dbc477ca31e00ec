#include "ops/conv3d/cpu_split.h"

#include <algorithm>
#include <limits>

namespace msdk::cpu {
namespace {

// A task's copies of x stay in the L2 cache, and its rows are enough for the weights to be read a few times only.
constexpr int64_t kCopiesBytes = 192 << 10, kLeastVoxels = 128;
// By Winograd along all axes a lane is a tile of voxels: so many lanes are the vectors that a product takes at once. A
// task has up to twice as many, and is slower by kFarFactor where the points of x at a depth, which each block of
// outputs reads, then need more than kNearBytes.
constexpr int64_t kLeastTiles = 48, kMostTiles = 96, kNearBytes = 512 << 10, kMostBytes = 3 * kNearBytes;
constexpr double kFarFactor = 1.05;
constexpr int kTasksPerThread = 4;
constexpr double kBlocksOfTransforms = 2;

// Each group of blocks transforms or copies its rows of x again, which takes as long as the products and sums of
// kBlocksOfTransforms blocks: the fewest groups with which the threads are done soonest.
void split_blocks(const Conv3dMethod& method, int64_t groups, int64_t threads, Conv3dSplit& split) {
  const double copies = method.tile ? kBlocksOfTransforms : 0;
  split.time = std::numeric_limits<double>::infinity();
  for (int64_t blocks = groups > 1 ? 1 : method.blocks; blocks > 0; --blocks) {
    const int64_t tasks = split.row_tasks * ((method.blocks + blocks - 1) / blocks);
    const double time = static_cast<double>((tasks + threads - 1) / threads) * (copies + static_cast<double>(blocks));
    if (time < split.time) split.blocks_of_task = blocks, split.time = time;
  }
  split.block_groups = (method.blocks + split.blocks_of_task - 1) / split.blocks_of_task;
}

// With at most so many rows in a task.
Conv3dSplit split_into(const Conv3dArgs& a, const Conv3dMethod& method, int64_t rows, int64_t threads) {
  Conv3dSplit split;
  split.planes = method.tile ? 1 : a.out[0];
  split.rows_of_plane = a.out[1];
  if (const int64_t tile = method.tile) {
    split.rows_of_plane = (a.out[0] + tile - 1) / tile * ((a.out[1] + tile - 1) / tile);
  }
  rows = std::clamp<int64_t>(rows, 1, split.rows_of_plane);
  split.tasks_of_plane = (split.rows_of_plane + rows - 1) / rows;
  split.rows_of_task = (split.rows_of_plane + split.tasks_of_plane - 1) / split.tasks_of_plane;
  if (a.moments && method.tile == 0) {  // a sum is of one task
    split.rows_of_task = rows_of_sums(split.rows_of_task) * kRowsOfSums;
    split.tasks_of_plane = (split.rows_of_plane + split.rows_of_task - 1) / split.rows_of_task;
  }
  split.row_tasks = a.batch * split.planes * split.tasks_of_plane;
  split_blocks(method, a.groups, threads, split);
  return split;
}

// What products with so many vectors take, in that of three at once.
double time_of_vectors(int64_t vectors) {
  constexpr double kOfRest[] = {0, 0.39, 0.69};
  return static_cast<double>(vectors / 3) + kOfRest[vectors % 3];
}

// The rows of tiles with which the threads are done soonest.
Conv3dSplit split_of_cubes(const Conv3dArgs& a, const Conv3dMethod& method, int64_t threads, int64_t vector_lanes) {
  const int64_t lanes = method.lanes_of_row(a);
  Conv3dSplit best;
  best.time = std::numeric_limits<double>::infinity();
  for (int64_t rows = (kLeastTiles + lanes - 1) / lanes;; ++rows) {
    Conv3dSplit split = split_into(a, method, rows, threads);
    const int64_t all = split.rows_of_task * lanes;
    split.time *= time_of_vectors((all + vector_lanes - 1) / vector_lanes);
    const int64_t bytes_of_lane = method.points_of_tile * a.in_channels * static_cast<int64_t>(sizeof(float));
    if (all > kLeastTiles && all * bytes_of_lane > kNearBytes) split.time *= kFarFactor;
    if (split.time < best.time) best = split;
    const int64_t more = (rows + 1) * lanes;
    if (rows >= split.rows_of_plane || more > kMostTiles || more * bytes_of_lane > kMostBytes) return best;
  }
}

}  // namespace

Conv3dSplit split_of(const Conv3dArgs& a, const Conv3dMethod& method, int64_t threads, const Kernels& isa) {
  if (method.is_cube) return split_of_cubes(a, method, threads, isa.lanes);
  const int64_t lanes = method.lanes_of_row(a);
  const int64_t one = method.kernel->scratch_floats(a, 1), two = method.kernel->scratch_floats(a, 2);
  const int64_t wanted = std::max<int64_t>(kCopiesBytes / 4 / std::max<int64_t>(two - one, 1), 1);
  const int64_t least = (kLeastVoxels + lanes - 1) / lanes;
  const int64_t tasks = kTasksPerThread * threads;
  const Conv3dSplit whole = split_into(a, method, INT64_MAX, threads);
  const int64_t for_threads = (whole.rows_of_plane * whole.planes * a.batch + tasks - 1) / tasks;
  return split_into(a, method, std::max(std::min(wanted, for_threads), least), threads);
}

}  // namespace msdk::cpu
