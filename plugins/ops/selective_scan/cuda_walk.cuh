// One warp's walk over the steps of a chunk: 32 channels, a block of their states in registers.
#pragma once

#include "ops/selective_scan/cuda_plan.cuh"
#include "ops/selective_scan/cuda_recurrence.cuh"

namespace msdk::cuda {
namespace {

constexpr int kTile = 16;      // steps that are staged together
constexpr int kQuad = 4;       // steps whose delta is computed together
constexpr int kRankRows = 32;  // rows of dt that are staged; more of them are read where they lie
constexpr int kPitch = kWarp + 1;

template <int kRows>
struct alignas(16) Tile {
  float u[kTile][kPitch];
  float rows[kTile][kRows + 4];  // a step's B, and its C when kRows is twice the states
  float dt[kRankRows][kTile];
};

// One scan of one batch entry in one chunk, as a warp sees it. A lane past the last channel computes nothing.
template <class T, int kStates, int kRows>
struct Walk {
  const SelectiveScanArgs<T>& a;
  Tile<kRows>& tile;
  int64_t batch, channel_block;
  int scan, first_state;
  Chunk chunk;

  __device__ int lane() const { return static_cast<int>(threadIdx.x); }
  __device__ int64_t channel() const { return channel_block * kWarp + lane(); }
  __device__ bool real() const { return channel() < a.channels; }
  __device__ const T* x_dbl() const {
    return a.x_dbl + (batch * a.directions.count + scan) * (a.dt_rank + 2 * a.states) * a.length;
  }

  __device__ void load_A(float* A2) const {
#pragma unroll
    for (int n = 0; n < kStates; ++n) {
      const int state = first_state + n;
      A2[n] = real() && state < a.states ? kLog2E * a.A[(scan * a.channels + channel()) * a.states + state] : 0.0f;
    }
  }

  // Brings u, B, C and the first kRankRows rows of dt of kTile steps to shared memory, zeros past the chunk's end.
  __device__ void stage(int first) const {
    const Direction& direction = a.directions.items[scan];
    if (direction.slices == 1 && a.length % 4 == 0 && aligned_to_four(a.u) && aligned_to_four(a.x_dbl)) {
      stage_fours(first, direction.backward);
    } else {
      stage_tokens(first);
    }
  }

  // Four neighbouring tokens a load, four lanes a row, and all loads under way before the first is used: this is where
  // a warp waits for memory.
  __device__ __forceinline__ void stage_fours(int first, bool backward) const {
    const int row = lane() / 4, rows_at_once = kWarp / 4, four = lane() % 4 * 4;
    const int step = first + four;
    const bool inside = step < chunk.count;
    const int64_t token = inside ? chunk.begin + (backward ? chunk.count - 4 - step : step) : 0;
    const int64_t first_channel = channel_block * kWarp;
    const T* u = a.u + ((batch * a.directions.count + scan) * a.channels + first_channel) * a.length + token;
    const T* dt = x_dbl() + token;
    const T* matrices = dt + (a.dt_rank + first_state) * a.length;
    constexpr int kLoads = kRows * 4 / kWarp;
    const float4 zeros = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    float4 inputs[4], of_matrices[kLoads];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int c = i * rows_at_once + row;
      inputs[i] = inside && first_channel + c < a.channels ? load_four(u + c * a.length) : zeros;
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int n = i * rows_at_once + row, state = n % kStates, matrix = n / kStates;  // B, then C
      const int64_t at = (static_cast<int64_t>(matrix) * a.states + state) * a.length;
      of_matrices[i] = inside && first_state + state < a.states ? load_four(matrices + at) : zeros;
    }
    for (int r = row; r < min(a.dt_rank, kRankRows); r += rows_at_once) {
      const float4 values = inside ? load_four(dt + r * a.length) : zeros;
      put_four(values, backward, [&](int i) -> float& { return tile.dt[r][four + i]; });
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      put_four(inputs[i], backward, [&](int j) -> float& { return tile.u[four + j][i * rows_at_once + row]; });
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      put_four(of_matrices[i], backward, [&](int j) -> float& { return tile.rows[four + j][i * rows_at_once + row]; });
    }
  }

  template <class Place>
  __device__ __forceinline__ static void put_four(float4 values, bool backward, Place&& place) {
    place(backward ? 3 : 0) = values.x;
    place(backward ? 2 : 1) = values.y;
    place(backward ? 1 : 2) = values.z;
    place(backward ? 0 : 3) = values.w;
  }

  // The same for tokens that do not lie side by side, or where no four of them are aligned: half a warp reads 16 steps
  // of a row, whole sectors of memory where they are neighbours.
  __device__ __forceinline__ void stage_tokens(int first) const {
    const int step = lane() % kTile, half = lane() / kTile;
    const bool inside = first + step < chunk.count;
    const int64_t token = inside ? token_of(a.directions.items[scan], chunk, a.length, first + step) : 0;
    const int64_t first_channel = channel_block * kWarp;
    const T* u = a.u + ((batch * a.directions.count + scan) * a.channels + first_channel) * a.length + token;
#pragma unroll 2
    for (int c = half; c < kWarp; c += 2) {
      tile.u[step][c] = inside && first_channel + c < a.channels ? to_float(u[c * a.length]) : 0.0f;
    }
    const T* row = x_dbl() + token;
    for (int r = half; r < min(a.dt_rank, kRankRows); r += 2) {
      tile.dt[r][step] = inside ? to_float(row[r * a.length]) : 0.0f;
    }
    row += (a.dt_rank + first_state) * a.length;
#pragma unroll 1
    for (int n = half; n < kRows; n += 2) {
      const int state = n % kStates, matrix = n / kStates;  // B, then C
      tile.rows[step][n] = inside && first_state + state < a.states
                               ? to_float(row[(static_cast<int64_t>(matrix) * a.states + state) * a.length])
                               : 0.0f;
    }
  }

  // delta of four steps of the tile; 0 past the chunk's end, where the state then stays what it is.
  __device__ void delta_of(int first, int quad, float* delta) const {
    const int64_t row = scan * a.channels + channel();
    const float* weight = a.dt_weight + row * a.dt_rank;
    const float bias = a.dt_bias[row];
#pragma unroll
    for (int i = 0; i < kQuad; ++i) delta[i] = bias;
    for (int r = 0; r < min(a.dt_rank, kRankRows); ++r) {
      const float w = __ldg(weight + r);
      const float4 dt = *reinterpret_cast<const float4*>(&tile.dt[r][quad]);
      delta[0] += w * dt.x;
      delta[1] += w * dt.y;
      delta[2] += w * dt.z;
      delta[3] += w * dt.w;
    }
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
      const int step = first + quad + i;
      if (step >= chunk.count) {
        delta[i] = 0.0f;
        continue;
      }
      if (a.dt_rank > kRankRows) {
        const T* dt = x_dbl() + token_of(a.directions.items[scan], chunk, a.length, step);
        for (int r = kRankRows; r < a.dt_rank; ++r) delta[i] += __ldg(weight + r) * to_float(dt[r * a.length]);
      }
      delta[i] = softplus(delta[i]);
    }
  }

  // The states after a step of the tile.
  __device__ __forceinline__ void advance(int step, float delta, float u, const float* A2, float* h) const {
    advance_states<kStates>(tile.rows[step], delta, u, A2, h);
  }

  __device__ __forceinline__ float output(int step, const float* h) const {
    return with_output<kStates>(&tile.rows[step][kStates], h, 0.0f);
  }

  // Of `states` in the workspace, for this chunk and lane; states lie `channels` apart.
  __device__ int64_t state_index(const Plan& plan, int64_t number) const {
    const int64_t chunk_row = (batch * a.directions.count + scan) * plan.chunks + number;
    return (chunk_row * a.states + first_state) * a.channels + channel();
  }
};

}  // namespace
}  // namespace msdk::cuda
