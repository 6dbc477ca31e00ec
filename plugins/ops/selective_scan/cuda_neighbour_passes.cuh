// Summaries and outputs of scans over neighbouring tokens, and their launches.
#pragma once

#include "ops/selective_scan/cuda_neighbours.cuh"

namespace msdk::cuda {
namespace {

constexpr int kMostBlockThreads = kMostBlockWarps * kWarp;
constexpr int kBlocksAtOnce = 4;  // of an SM: 168 registers for a thread; five leave 128, which spill

// A thread of a grid of chunks, blocks of channels, and batch entries times `others`.
struct NeighbourThread {
  int number, channel, batch, other;

  __device__ explicit NeighbourThread(int others)
      : number(static_cast<int>(blockIdx.x)),
        channel(static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x)),
        batch(static_cast<int>(blockIdx.z) / others),
        other(static_cast<int>(blockIdx.z) % others) {}
};

constexpr int64_t kMostBlocksOfAxis = 65535;  // the y and z of a grid

// Of `states` in the workspace, for a chunk; states lie `channels` apart.
template <class T>
__device__ int64_t state_index(const SelectiveScanArgs<T>& a, const Plan& plan, const NeighbourThread& place, int scan,
                               int first_state) {
  const int64_t chunk_row =
      (static_cast<int64_t>(place.batch) * a.directions.count + scan) * plan.chunks + place.number;
  return (chunk_row * a.states + first_state) * a.channels + place.channel;
}

template <class Walk>
struct TilePair {
  typename Walk::Tile tile[2];
};

// `others`: states and scans of the group.
template <class T, int kRank>
__global__ void __launch_bounds__(kMostBlockThreads, kBlocksAtOnce)
    neighbour_summaries(const SelectiveScanArgs<T> a, const Plan plan, const Group group, float* states, float* sums) {
  using Walk = NeighbourWalk<T, kRank, 1>;
  MSDK_SHARED(TilePair<Walk>, tiles);
  const int state_blocks = a.states / kStatesAtOnce;
  const NeighbourThread place(group.count * state_blocks);
  const int scan = group.scans[place.other / state_blocks];
  const int first_state = place.other % state_blocks * kStatesAtOnce;
  if (place.number == (a.directions.items[scan].backward ? 0 : plan.chunks - 1)) return;  // nothing follows it
  const Chunk chunk = chunk_of(plan, a.length, place.number);
  Walk walk(a, chunk, place.batch, place.channel);
  walk.begin(scan, first_state);
  float h[kStatesAtOnce] = {}, sum = 0.0f;
  walk.fetch(0);
  for (int first = 0, turn = 0; first < chunk.count; first += kStepsOfTile, turn ^= 1) {
    typename Walk::Tile& tile = tiles.tile[turn];
    walk.put(tile);
    if (first + kStepsOfTile < chunk.count) walk.fetch(first + kStepsOfTile);
    __syncthreads();
    const int steps = walk.real() ? min(kStepsOfTile, chunk.count - first) : 0;
#pragma unroll 1
    for (int step = 0; step < steps; step += Walk::kCount) {
      float u[Walk::kCount];
      walk.inputs(first + step, u);
#pragma unroll
      for (int quad = 0; quad < Walk::kCount; quad += 4) {
        float delta[4];
        walk.deltas(tile, step + quad, delta);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sum += delta[i];
          walk.advance(tile, step + quad + i, delta[i], u[quad + i], h);
        }
      }
    }
  }
  if (!walk.real()) return;
  const int64_t at = state_index(a, plan, place, scan, first_state);
#pragma unroll
  for (int n = 0; n < kStatesAtOnce; ++n) states[at + n * a.channels] = h[n];
  if (first_state == 0) {
    const int64_t scan_row = static_cast<int64_t>(place.batch) * a.directions.count + scan;
    sums[(scan_row * plan.chunks + place.number) * a.channels + place.channel] = sum;
  }
}

// y of neighbouring tokens after the passes so far, in float32: in y where that is float32; else its upper 16 bits
// there and its lower ones in shared memory, (chunk_steps, threads).
template <class T>
struct KeptTokens;

template <>
struct KeptTokens<float> {
  static constexpr size_t kSharedBytes = 0;  // of a step and thread

  __device__ __forceinline__ static void load(const Tokens<float>& in_y, const uint4*, float* y) { in_y.unpack(y); }
  __device__ __forceinline__ static void store(const float* y, float* in_y, uint4*) {
    store_tokens(in_y, Tokens<float>::pack(y));
  }
};

template <>
struct KeptTokens<Half> {
  static constexpr size_t kSharedBytes = 2;

  __device__ __forceinline__ static void load(const Tokens<Half>& in_y, const uint4* in_shared, float* y) {
    const uint4 lower = *in_shared;
    two(in_y.bits.x, lower.x, y), two(in_y.bits.y, lower.y, y + 2);
    two(in_y.bits.z, lower.z, y + 4), two(in_y.bits.w, lower.w, y + 6);
  }
  __device__ __forceinline__ static void store(const float* y, Half* in_y, uint4* in_shared) {
    store_tokens(in_y, {make_uint4(upper(y), upper(y + 2), upper(y + 4), upper(y + 6))});
    *in_shared = make_uint4(lower(y), lower(y + 2), lower(y + 4), lower(y + 6));
  }

 private:
  __device__ __forceinline__ static void two(unsigned upper, unsigned lower, float* y) {
    y[0] = __uint_as_float(upper << 16 | (lower & 0xffffu));
    y[1] = __uint_as_float((upper & 0xffff0000u) | lower >> 16);
  }
  __device__ __forceinline__ static unsigned upper(const float* y) {
    return __float_as_uint(y[0]) >> 16 | (__float_as_uint(y[1]) & 0xffff0000u);
  }
  __device__ __forceinline__ static unsigned lower(const float* y) {
    return (__float_as_uint(y[0]) & 0xffffu) | __float_as_uint(y[1]) << 16;
  }
};

// Scales and gates `y` of neighbouring tokens.
template <class T>
__device__ __forceinline__ Tokens<T> finished(const SelectiveScanArgs<T>& a, float* y, const Tokens<T>& gate) {
  constexpr int kCount = Tokens<T>::kCount;
#pragma unroll
  for (int i = 0; i < kCount; ++i) y[i] *= a.scale;
  if (a.z) {
    float z[kCount];
    gate.unpack(z);
#pragma unroll
    for (int i = 0; i < kCount; ++i) y[i] *= silu(z[i]);
  }
  return Tokens<T>::pack(y);
}

template <class T, int kRank>
__global__ void __launch_bounds__(kMostBlockThreads, kBlocksAtOnce)
    neighbour_outputs(const SelectiveScanArgs<T> a, const Plan plan, const Group group, const float* states,
                      const Accumulation sums) {
  using Walk = NeighbourWalk<T, kRank, 2>;
  constexpr int kCount = Walk::kCount;
  MSDK_SHARED(TilePair<Walk>, tiles);
  MSDK_DYNAMIC_SHARED(uint4, kept);  // as KeptTokens has it
  const NeighbourThread place(1);
  const Chunk chunk = chunk_of(plan, a.length, place.number);
  Walk walk(a, chunk, place.batch, place.channel);
  const int64_t row = (static_cast<int64_t>(place.batch) * a.channels + place.channel) * a.length + chunk.begin;
  const int state_blocks = a.states / kStatesAtOnce, passes = group.count * state_blocks;
  int turn = 0;
#pragma unroll 1
  for (int pass = 0; pass < passes; ++pass) {
    const int scan = group.scans[pass / state_blocks], first_state = pass % state_blocks * kStatesAtOnce;
    const bool last = pass == passes - 1;
    walk.begin(scan, first_state);
    walk.fetch(0);
    const bool from_zero = place.number == (walk.backward() ? plan.chunks - 1 : 0);
    const float skip = walk.real() && first_state == 0 ? a.D_skip[scan * a.channels + place.channel] : 0.0f;
    float h[kStatesAtOnce] = {};
    if (walk.real() && !from_zero) {
      const float* state = states + state_index(a, plan, place, scan, first_state);
#pragma unroll
      for (int n = 0; n < kStatesAtOnce; ++n, state += a.channels) h[n] = *state;
    }
    for (int first = 0; first < chunk.count; first += kStepsOfTile, turn ^= 1) {
      typename Walk::Tile& tile = tiles.tile[turn];
      walk.put(tile);
      if (first + kStepsOfTile < chunk.count) walk.fetch(first + kStepsOfTile);
      __syncthreads();
      const int steps = walk.real() ? min(kStepsOfTile, chunk.count - first) : 0;
#pragma unroll 1
      for (int step = 0; step < steps; step += kCount) {
        const int token = walk.token(first + step);
        Tokens<T> gate{}, before{};
        if (last && a.z) gate = load_tokens(a.z + row + token);
        if (pass > 0) before = load_tokens(a.y + row + token);
        float u[kCount], y[kCount];
        walk.inputs(first + step, u);
#pragma unroll
        for (int quad = 0; quad < kCount; quad += 4) {
          float delta[4];
          walk.deltas(tile, step + quad, delta);
#pragma unroll
          for (int i = quad; i < quad + 4; ++i) {
            walk.advance(tile, step + i, delta[i - quad], u[i], h);
            y[i] = walk.output(tile, step + i, h, skip * u[i]);
          }
        }
        reverse_if<kCount>(walk.backward(), y);
        uint4* lower = kept + token / kCount * blockDim.x + threadIdx.x;
        float sum[kCount];
        if (pass > 0) {
          KeptTokens<T>::load(before, lower, sum);
        } else {
#pragma unroll
          for (int i = 0; i < kCount; i += 4) {
            Tokens<float> of_groups{};
            if (!sums.first) of_groups = load_tokens(sums.y_before + row + token + i);
            of_groups.unpack(sum + i);
          }
        }
#pragma unroll
        for (int i = 0; i < kCount; ++i) y[i] += sum[i];
        if (!last) {
          KeptTokens<T>::store(y, a.y + row + token, lower);
        } else if (sums.last) {
          store_tokens(a.y + row + token, finished(a, y, gate));
        } else {
#pragma unroll
          for (int i = 0; i < kCount; i += 4) {
            store_tokens(sums.y_before + row + token + i, Tokens<float>::pack(y + i));
          }
        }
      }
    }
  }
}

inline bool aligned_to_sixteen(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// Whether these kernels serve the directions of a group.
template <class T>
bool of_neighbours(const SelectiveScanArgs<T>& a, const Plan& plan, const Group& group) {
  return a.directions.items[group.scans[0]].slices == 1 && a.states % kStatesAtOnce == 0 && a.dt_rank <= kMostRank &&
         a.length % Tokens<T>::kCount == 0 && aligned_to_sixteen(a.u) && aligned_to_sixteen(a.x_dbl) &&
         aligned_to_sixteen(a.z) && aligned_to_sixteen(a.y) && aligned_to_sixteen(a.A) &&
         plan.blocks_of_channels <= kMostBlocksOfAxis &&
         product({a.batch, group.count, a.states / kStatesAtOnce}) <= kMostBlocksOfAxis;
}

// (chunks, blocks of channels, others)
inline dim3 neighbour_grid(const Plan& plan, int64_t others) {
  return dim3(static_cast<unsigned>(plan.chunks), static_cast<unsigned>(plan.blocks_of_channels),
              static_cast<unsigned>(others));
}

// f(kRank) with the least number of rows of dt, of those that there are kernels for, that holds `rank`.
template <class F>
const char* with_rank(int rank, F&& f) {
  if (rank <= 4) return f(std::integral_constant<int, 4>());
  if (rank <= 6) return f(std::integral_constant<int, 6>());
  return f(std::integral_constant<int, kMostRank>());
}

template <class T>
const char* summarise_neighbours(const SelectiveScanArgs<T>& a, const Plan& plan, const Group& group, float* states,
                                 float* sums, Stream stream) {
  const dim3 grid = neighbour_grid(plan, product({a.batch, group.count, a.states / kStatesAtOnce}));
  const dim3 block(static_cast<unsigned>(plan.block_warps * kWarp));
  return with_rank(a.dt_rank, [&](auto rank) {
    return launch(neighbour_summaries<T, rank()>, grid, block, 0, stream, a, plan, group, states, sums);
  });
}

template <class T>
const char* output_neighbours(const SelectiveScanArgs<T>& a, const Plan& plan, const Group& group, const float* states,
                              const Accumulation& accumulation, Stream stream) {
  const dim3 grid = neighbour_grid(plan, a.batch);
  const dim3 block(static_cast<unsigned>(plan.block_warps * kWarp));
  const bool kept = group.count > 1 || a.states > kStatesAtOnce;
  const size_t y_bytes =
      kept ? static_cast<size_t>(std::min(plan.chunk_steps, a.length)) * block.x * KeptTokens<T>::kSharedBytes : 0;
  return with_rank(a.dt_rank, [&](auto rank) -> const char* {
    if (const char* refused = prefer_shared_memory(neighbour_outputs<T, rank()>)) return refused;
    return launch(neighbour_outputs<T, rank()>, grid, block, y_bytes, stream, a, plan, group, states, accumulation);
  });
}

}  // namespace
}  // namespace msdk::cuda
