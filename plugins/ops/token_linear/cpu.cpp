#include "ops/token_linear/cpu.h"

#include <algorithm>
#include <stdexcept>

#include "cpu/kernels.h"
#include "cpu/workspace.h"

namespace msdk::cpu {
namespace {

// Tokens of a task: their channels stay in the L2 cache, runs of memory are long, vectors come in threes.
constexpr int64_t kFloats = 24576, kVectors = 48, kMostTokens = 16 * kVectors;

int64_t block_floats(const TokenLinearArgs& a, const Kernels& isa) {
  return a.in_channels * isa.token_linear.outputs_of_block(a.out_channels);
}

int64_t blocks_of(const TokenLinearArgs& a, const Kernels& isa) {
  const int64_t of_block = isa.token_linear.outputs_of_block(a.out_channels);
  return (a.out_channels + of_block - 1) / of_block;
}

}  // namespace

// (set, block, in_channels, outputs of a block), zero past the last output.
std::vector<float> pack_token_linear(const TokenLinearArgs& a, const Kernels& isa) {
  const int64_t of_block = isa.token_linear.outputs_of_block(a.out_channels), blocks = blocks_of(a, isa);
  std::vector<float> packed(static_cast<size_t>(a.sets * blocks * block_floats(a, isa)));
  const float* from = a.weight;
  for (int64_t set = 0; set < a.sets; ++set) {
    for (int64_t o = 0; o < a.out_channels; ++o) {
      float* to = packed.data() + (set * blocks + o / of_block) * block_floats(a, isa) + o % of_block;
      for (int64_t c = 0; c < a.in_channels; ++c) to[c * of_block] = *from++;
    }
  }
  return packed;
}

void token_linear(const TokenLinearArgs& a, const float* packed, const Parallel& parallel, const Kernels& isa) {
  const int64_t of_task = std::clamp(kFloats / a.in_channels / kVectors * kVectors, kVectors, kMostTokens);
  const int64_t tasks = (a.length + of_task - 1) / of_task, set_floats = blocks_of(a, isa) * block_floats(a, isa);
  const int64_t floats = isa.token_linear.scratch_floats(a, of_task);
  if (floats > INT32_MAX) throw std::length_error("token_linear: so many input channels do not fit a task");
  const int64_t scratch = floats * static_cast<int64_t>(sizeof(float));
  parallel(a.batch * a.sets * tasks, [&](int64_t index) {
    const int64_t set = index / tasks, begin = index % tasks * of_task;
    isa.token_linear.tokens(a, packed + set % a.sets * set_floats, set, begin, std::min(of_task, a.length - begin),
                            task_scratch(scratch));
  });
}

}  // namespace msdk::cpu
