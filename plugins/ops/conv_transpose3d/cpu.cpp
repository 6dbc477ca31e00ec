#include "ops/conv_transpose3d/cpu.h"

#include <algorithm>
#include <stdexcept>

#include "cpu/kernels.h"
#include "cpu/workspace.h"

namespace msdk::cpu {
namespace {

// A task's copy of x stays in the L2 cache, and its voxels are enough for the weights to be read a few times only.
constexpr int64_t kCopyBytes = 192 << 10, kLeastVoxels = 128;
constexpr int kTasksPerThread = 4;
constexpr int64_t kSkipFloats = 1 << 16;  // of a task that copies some of a channel of skip

int64_t pairs_of(const ConvTranspose3dArgs& a) { return a.out_channels * a.kernel[0] * a.kernel[1] * a.kernel[2]; }

int64_t rounded_up(int64_t count, int64_t of) { return (count + of - 1) / of; }

}  // namespace

// (block, in_channels, pairs of output channel and tap in a block); pairs past the last are 0.
std::vector<float> pack_conv_transpose3d(const ConvTranspose3dArgs& a, const Kernels& isa) {
  const int64_t pairs = pairs_of(a), of_block = isa.conv_transpose3d.outputs;
  std::vector<float> packed(static_cast<size_t>(rounded_up(pairs, of_block) * a.in_channels * of_block));
  for (int64_t c = 0; c < a.in_channels; ++c) {
    for (int64_t pair = 0; pair < pairs; ++pair) {
      packed[(pair / of_block * a.in_channels + c) * of_block + pair % of_block] = a.weight[c * pairs + pair];
    }
  }
  return packed;
}

void conv_transpose3d(const ConvTranspose3dArgs& a, const float* packed, const Parallel& parallel, const Kernels& isa) {
  if (a.batch == 0) return;
  const ConvTranspose3dKernels& kernel = isa.conv_transpose3d;
  const int64_t blocks = rounded_up(pairs_of(a), kernel.outputs), all_rows = a.in[0] * a.in[1], width = a.in[2];
  const int64_t tasks = kTasksPerThread * parallel.threads();
  const int64_t of_copy = kCopyBytes / static_cast<int64_t>(sizeof(float)) / (a.in_channels * width);
  const int64_t for_threads = rounded_up(all_rows * a.batch, tasks);
  const int64_t rows =
      std::clamp<int64_t>(std::max(std::min(of_copy, for_threads), rounded_up(kLeastVoxels, width)), 1, all_rows);
  const int64_t scratch = kernel.scratch_floats(a, rows);
  if (scratch > INT32_MAX) throw std::length_error("conv_transpose3d: rows of this many channels do not fit a task");
  const int64_t row_tasks = rounded_up(all_rows, rows);
  const int64_t blocks_of_task =
      std::max<int64_t>(blocks / std::max<int64_t>(rounded_up(tasks, row_tasks * a.batch), 1), 1);
  const int64_t block_tasks = rounded_up(blocks, blocks_of_task), products = a.batch * row_tasks * block_tasks;

  const int64_t out_voxels = a.in[0] * a.in[1] * a.in[2] * a.kernel[0] * a.kernel[1] * a.kernel[2];
  const int64_t copies_of_channel = rounded_up(out_voxels, kSkipFloats);
  const int64_t copies = (a.skip ? a.skip_channels : 0) * copies_of_channel;
  parallel(products + a.batch * copies, [&](int64_t index) {
    if (index >= products) {
      index -= products;
      const int64_t first = index % copies_of_channel * kSkipFloats, channel = index % copies / copies_of_channel;
      kernel.copy_skip(a, index / copies, channel, first, std::min(kSkipFloats, out_voxels - first));
      return;
    }
    ConvTranspose3dTask task;
    task.first_block = index % block_tasks * blocks_of_task;
    task.blocks = std::min(blocks_of_task, blocks - task.first_block);
    index /= block_tasks;
    task.first_row = index % row_tasks * rows;
    task.rows = std::min(rows, all_rows - task.first_row);
    task.batch = index / row_tasks;
    kernel.run(a, packed, task, task_scratch(scratch * static_cast<int64_t>(sizeof(float))));
  });
}

}  // namespace msdk::cpu
