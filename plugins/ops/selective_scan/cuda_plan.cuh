// How selective_scan is split: its chunks of steps, its groups of directions, its workspace. All from the sizes alone.
#pragma once

#include <algorithm>

#include "cuda/math.cuh"
#include "ops/selective_scan/cuda.h"

namespace msdk::cuda {
namespace {

constexpr int64_t kShortestChunk = 32, kLongestChunk = 128;  // steps
constexpr int64_t kMostBlockWarps = 3;
constexpr int64_t kEnoughWarps = 2048;

// channel_blocks: of 32 channels, one for a warp. blocks_of_channels: of block_warps such warps, which share B and C.
struct Plan {
  int64_t chunk_steps, chunks, channel_blocks, block_warps, blocks_of_channels;
};

template <class T>
Plan plan_of(const SelectiveScanArgs<T>& a) {
  Plan plan;
  plan.channel_blocks = divide_up(a.channels, kWarp);
  const int64_t idle_of_threes = (3 - plan.channel_blocks % 3) % 3, idle_of_twos = plan.channel_blocks % 2;
  plan.block_warps = idle_of_twos < idle_of_threes ? 2 : kMostBlockWarps;
  plan.blocks_of_channels = divide_up(plan.channel_blocks, plan.block_warps);
  plan.chunk_steps = kLongestChunk;
  const int64_t scans = product({a.batch, a.directions.count, plan.channel_blocks});
  while (plan.chunk_steps > kShortestChunk && product({scans, divide_up(a.length, plan.chunk_steps)}) < kEnoughWarps) {
    plan.chunk_steps /= 2;
  }
  plan.chunks = divide_up(a.length, plan.chunk_steps);
  return plan;
}

// Directions of the same slices.
struct Group {
  int count, scans[kMaxDirections];
};

int groups_of(const DirectionList& directions, Group* groups) {
  int count = 0;
  for (int k = 0; k < directions.count; ++k) {
    int g = 0;
    while (g < count && directions.items[groups[g].scans[0]].slices != directions.items[k].slices) ++g;
    if (g == count) groups[count++].count = 0;
    groups[g].scans[groups[g].count++] = k;
  }
  return count;
}

// `y_before` holds what earlier groups gave, and takes the sum unless this group is the last one.
struct Accumulation {
  float* y_before;
  bool first, last;
};

// Steps begin .. begin + count - 1 of the direction read forwards.
struct Chunk {
  int begin, count;
};

__device__ __forceinline__ Chunk chunk_of(const Plan& plan, int64_t length, int64_t number) {
  const int64_t begin = number * plan.chunk_steps;
  return {static_cast<int>(begin), static_cast<int>(min(plan.chunk_steps, length - begin))};
}

// The token that `direction` visits at a step counted from where it enters the chunk.
__device__ __forceinline__ int token_of(const Direction& direction, const Chunk& chunk, int64_t length, int step) {
  const int forward = chunk.begin + (direction.backward ? chunk.count - 1 - step : step);
  if (direction.slices == 1) return forward;
  const int slices = static_cast<int>(direction.slices);
  return forward % slices * static_cast<int>(length / slices) + forward / slices;
}

constexpr int64_t kAlignment = 256;

int64_t aligned(int64_t bytes) { return product({divide_up(bytes, kAlignment), kAlignment}); }

// Where the parts of the workspace lie: from 0 on the state at a chunk's end, then at its start, (batch, K, chunks,
// states, channels); the sums of delta, (batch, K, chunks, channels); y before its last group, (batch, channels,
// length).
struct Layout {
  int64_t sums, y, bytes;
};

// Enough for any smaller batch or length too, as a profile of TensorRT wants it, though those may have shorter chunks
// and so more of them: batch * chunks is then at most twice what kEnoughWarps lets through.
template <class T>
Layout layout_of(const SelectiveScanArgs<T>& a) {
  Group groups[kMaxDirections];
  const int64_t warps_a_chunk = product({a.directions.count, divide_up(a.channels, kWarp)});
  const int64_t chunks = a.length <= kShortestChunk
                             ? 0
                             : std::max(product({a.batch, divide_up(a.length, kLongestChunk)}),
                                        std::min(product({a.batch, divide_up(a.length, kShortestChunk)}),
                                                 2 * ((kEnoughWarps - 1) / std::max<int64_t>(warps_a_chunk, 1))));
  const int64_t row_bytes = product({chunks, a.directions.count, a.channels, sizeof(float)});
  const bool y_in_float = sizeof(T) < sizeof(float) && groups_of(a.directions, groups) > 1;
  Layout layout;
  layout.sums = aligned(product({row_bytes, a.states}));
  layout.y = sum(layout.sums, aligned(row_bytes));
  layout.bytes = sum(layout.y, y_in_float ? aligned(product({a.batch, a.channels, a.length, sizeof(float)})) : 0);
  return layout;
}

}  // namespace
}  // namespace msdk::cuda
