#include "ops/conv3d/cpu.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "cpu/kernels.h"
#include "cpu/workspace.h"
#include "ops/instance_norm/cpu.h"
#include "ops/token_linear/cpu.h"

namespace msdk::cpu {
namespace {

// A task's copies of x stay in the L2 cache, and its rows are enough for the weights to be read a few times only.
constexpr int64_t kCopiesBytes = 192 << 10, kLeastVoxels = 128;
// By Winograd along all axes a lane is a tile of voxels: so many lanes are the vectors that a product takes at once. A
// task has up to twice as many, and is slower by kFarFactor where the points of x at a depth, which each block of outputs
// reads, then need more than kNearBytes.
constexpr int64_t kLeastTiles = 48, kMostTiles = 96, kNearBytes = 512 << 10, kMostBytes = 3 * kNearBytes;
constexpr double kFarFactor = 1.05;
constexpr int kTasksPerThread = 4;
constexpr double kBlocksOfTransforms = 2;
// Pairs of channels up to which weights may take eight and four times their memory: beyond, they, not x, are what is
// read.
constexpr int64_t kMostPairsOfCubes = 128 * 256, kMostPairs = 256 * 256, kMostPairsStrided = 320 * 320;
// With fewer, transforms are what takes time: a third axis of them rounds more for nothing, and all of them take longer
// than the products of one channel.
constexpr int64_t kLeastChannelsOfCubes = 16, kLeastChannels = 2;

// Three taps at the points of F(T, 3): values of the polynomial with these coefficients, each over the product of its
// point's distances from the others; the last point is infinity.
constexpr double kPoints2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
constexpr double kNear = kWinogradNear, kFar = kWinogradFar, kNear2 = kNear * kNear, kFar2 = kFar * kFar;
constexpr double kOfNear = 1 / (2 * kNear2 * (kNear2 - kFar2)), kOfFar = 1 / (2 * kFar2 * (kFar2 - kNear2));
constexpr double kPoints4[6][3] = {{1 / (kNear2 * kFar2), 0, 0},
                                   {kOfNear, kNear * kOfNear, kNear2 * kOfNear},
                                   {kOfNear, -kNear * kOfNear, kNear2 * kOfNear},
                                   {kOfFar, kFar * kOfFar, kFar2 * kOfFar},
                                   {kOfFar, -kFar * kOfFar, kFar2 * kOfFar},
                                   {0, 0, 1}};
// With stride 2: the outer taps at the points 0, 1 and infinity, the middle one for each of two voxels of y.
constexpr double kPointsStrided[5][3] = {{1, 0, 0}, {1, 0, 1}, {0, 0, 1}, {0, 1, 0}, {0, 1, 0}};

// With stride 2: the outer taps at the points of F(4, 2), the middle one for each of four voxels of y.
constexpr double kStridedNear2 = kStridedNear * kStridedNear, kStridedFar2 = kStridedFar * kStridedFar;
constexpr double kOfStridedNear = 1 / (2 * kStridedNear * (kStridedNear2 - kStridedFar2));
constexpr double kOfStridedFar = 1 / (2 * kStridedFar * (kStridedFar2 - kStridedNear2));
constexpr double kPointsStrided4[6][3] = {{kOfStridedNear, 0, kStridedNear * kOfStridedNear},
                                          {-kOfStridedNear, 0, kStridedNear * kOfStridedNear},
                                          {kOfStridedFar, 0, kStridedFar * kOfStridedFar},
                                          {-kOfStridedFar, 0, kStridedFar * kOfStridedFar},
                                          {0, 0, 1},
                                          {0, 1, 0}};

// Taps along an axis without Winograd.
constexpr double kTaps[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};

// How a convolution is done: `tile` is T, the voxels of y that Winograd's kernels give at once along depth and along
// height from `side` points, or 0: tap by tap. is_cube: along width too, else tap by tap there.
struct Method {
  int tile = 0, side = 0;
  bool is_cube = false;
  int points_of_tile = 0;  // of a cube: at a point along depth
  int outputs;             // of a block
  int64_t blocks, block_floats;
  const Conv3dKernel* kernel;
  const double (*points)[3] = nullptr;

  Method(const Conv3dArgs& a, const Kernels& isa) {
    const bool same = all_are(a.kernel, 3) && all_are(a.before, 1) && all_are(a.after, 1) && a.groups == 1 &&
                      a.in_channels >= kLeastChannels;
    const int64_t pairs = a.in_channels * a.out_channels;
    const bool few = pairs <= kMostPairs;
    if (same && all_are(a.stride, 1) && pairs <= kMostPairsOfCubes && a.in_channels >= kLeastChannelsOfCubes) {
      is_cube = true, tile = 4, side = kCubeWeights, points_of_tile = 6 * 6;
      kernel = &isa.conv3d.winograd_cube;
      points = kPoints4;
    } else if (same && all_are(a.stride, 1)) {
      tile = few ? 4 : 2, side = tile + 2;
      kernel = few ? &isa.conv3d.winograd_4 : &isa.conv3d.winograd_2;
      points = few ? kPoints4 : kPoints2;
    } else if (same && all_are(a.stride, 2) && pairs <= kMostPairsOfCubes) {
      is_cube = true, tile = 4, side = kCubeWeights, points_of_tile = 9 * 9;
      kernel = &isa.conv3d.strided_cube;
      points = kPointsStrided4;
    } else if (same && pairs <= kMostPairsStrided && all_are(a.stride, 2)) {
      tile = 2, side = 5;
      kernel = &isa.conv3d.winograd_strided;
      points = kPointsStrided;
    } else {
      kernel = &isa.conv3d.direct;
    }
    outputs = a.out_channels == a.groups && tile == 0 ? 1 : isa.conv3d.outputs;
    blocks = a.groups * ((a.out_channels / a.groups + outputs - 1) / outputs);
    const int64_t taps = tile ? side * side * taps_of_width() : a.kernel[0] * a.kernel[1] * a.kernel[2];
    block_floats = a.in_channels / a.groups * taps * outputs;
  }

  // Rows of weights along width: points, or taps.
  int taps_of_width() const { return is_cube ? side : 3; }
  const double (*width_points() const)[3] { return is_cube ? points : kTaps; }
  // Lanes of a row of tiles, with the padding between it and the next.
  int64_t lanes_of_row(const Conv3dArgs& a) const { return is_cube ? (a.out[2] + tile - 1) / tile : a.out[2] + 1; }

  static bool all_are(const int64_t (&sides)[3], int64_t value) {
    return sides[0] == value && sides[1] == value && sides[2] == value;
  }
};

// A pair of channels' weights at each point along depth, height and width: calls f(point of depth and height, of
// width, weight).
template <class F>
void at_points(const float* taps, const Method& method, F&& f) {
  double planes[3][3];  // (height, width)
  for (int depth = 0; depth < method.side; ++depth) {
    const double (&d)[3] = method.points[depth];
    for (int tap = 0; tap < 9; ++tap) {
      planes[tap / 3][tap % 3] = d[0] * taps[tap] + d[1] * taps[9 + tap] + d[2] * taps[18 + tap];
    }
    for (int height = 0; height < method.side; ++height) {
      const double (&h)[3] = method.points[height];
      double row[3];
      for (int tap = 0; tap < 3; ++tap)
        row[tap] = h[0] * planes[0][tap] + h[1] * planes[1][tap] + h[2] * planes[2][tap];
      for (int width = 0; width < method.taps_of_width(); ++width) {
        const double (&w)[3] = method.width_points()[width];
        f(depth * method.side + height, width, static_cast<float>(w[0] * row[0] + w[1] * row[1] + w[2] * row[2]));
      }
    }
  }
}

// Tap by tap.
int64_t rows_of_sums(int64_t rows) { return (rows + kRowsOfSums - 1) / kRowsOfSums; }

struct Split {
  int64_t rows_of_plane, rows_of_task, tasks_of_plane, planes, row_tasks, block_groups, blocks_of_task;
  double time;  // until all tasks are done, in that of a block's products
};

// Each group of blocks transforms or copies its rows of x again, which takes as long as the products and sums of
// kBlocksOfCopies blocks: the fewest groups with which the threads are done soonest.
void split_blocks(const Method& method, int64_t groups, int64_t threads, Split& split) {
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
Split split_into(const Conv3dArgs& a, const Method& method, int64_t rows, int64_t threads) {
  Split split;
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
Split split_of_cubes(const Conv3dArgs& a, const Method& method, int64_t threads, int64_t vector_lanes) {
  const int64_t lanes = method.lanes_of_row(a);
  Split best;
  best.time = std::numeric_limits<double>::infinity();
  for (int64_t rows = (kLeastTiles + lanes - 1) / lanes;; ++rows) {
    Split split = split_into(a, method, rows, threads);
    const int64_t all = split.rows_of_task * lanes;
    split.time *= time_of_vectors((all + vector_lanes - 1) / vector_lanes);
    const int64_t bytes_of_lane = method.points_of_tile * a.in_channels * static_cast<int64_t>(sizeof(float));
    if (all > kLeastTiles && all * bytes_of_lane > kNearBytes) split.time *= kFarFactor;
    if (split.time < best.time) best = split;
    const int64_t more = (rows + 1) * lanes;
    if (rows >= split.rows_of_plane || more > kMostTiles || more * bytes_of_lane > kMostBytes) return best;
  }
}

// How rows and blocks of output channels are cut into tasks: from the sizes and the number of threads alone.
Split split_of(const Conv3dArgs& a, const Method& method, int64_t threads, const Kernels& isa) {
  if (method.is_cube) return split_of_cubes(a, method, threads, isa.lanes);
  const int64_t lanes = method.lanes_of_row(a);
  const int64_t one = method.kernel->scratch_floats(a, 1), two = method.kernel->scratch_floats(a, 2);
  const int64_t wanted = std::max<int64_t>(kCopiesBytes / 4 / std::max<int64_t>(two - one, 1), 1);
  const int64_t least = (kLeastVoxels + lanes - 1) / lanes;
  const int64_t tasks = kTasksPerThread * threads;
  const Split whole = split_into(a, method, INT64_MAX, threads);
  const int64_t for_threads = (whole.rows_of_plane * whole.planes * a.batch + tasks - 1) / tasks;
  return split_into(a, method, std::max(std::min(wanted, for_threads), least), threads);
}

// A convolution of single voxels is a product with the channels of each.
bool is_linear(const Conv3dArgs& a) {
  return Method::all_are(a.kernel, 1) && Method::all_are(a.stride, 1) && Method::all_are(a.before, 0) &&
         Method::all_are(a.after, 0) && a.groups == 1;
}

TokenLinearArgs as_linear(const Conv3dArgs& a) {
  const int64_t voxels = a.in[0] * a.in[1] * a.in[2];
  return {a.batch, 1, a.in_channels, a.out_channels, voxels, a.x, a.weight, a.bias, nullptr, a.y, a.norm};
}

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

// By Winograd: (block, points, in_channels, 3 taps along width, outputs of a block), or (block, points, in_channels,
// outputs of a block) along all axes. Tap by tap: (block, in_channels of a group, taps, outputs of a block). Outputs
// past a group's last are 0. Of single voxels: as pack_token_linear says.
std::vector<float> pack_conv3d(const Conv3dArgs& a, const Kernels& isa) {
  if (is_linear(a)) return pack_token_linear(as_linear(a), isa);
  const Method method(a, isa);
  const int64_t channels = a.in_channels / a.groups, taps = a.kernel[0] * a.kernel[1] * a.kernel[2];
  const int64_t outputs = a.out_channels / a.groups, of_block = method.outputs;
  const int64_t blocks_of_group = method.blocks / a.groups;
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
      at_points(from, method, [&](int64_t point, int64_t width, float weight) {
        const int64_t row = method.is_cube ? (point * method.side + width) * channels + c
                                           : (point * channels + c) * method.taps_of_width() + width;
        to[row * of_block] = weight;
      });
    }
  }
  return packed;
}

void conv3d(const Conv3dArgs& a, const float* packed, const Parallel& parallel, const Kernels& isa) {
  if (a.batch == 0) return;
  if (is_linear(a)) {
    token_linear(as_linear(a), packed, parallel, isa);
    const int64_t voxels = a.out[0] * a.out[1] * a.out[2];
    if (a.moments) moments_of(a.y, a.batch * a.out_channels, voxels, a.moments, parallel, isa);
    return;
  }
  const Method method(a, isa);
  const Split split = split_of(a, method, parallel.threads(), isa);
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
