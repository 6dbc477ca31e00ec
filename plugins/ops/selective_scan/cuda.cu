// The directed selective scans of all directions, split over chunks of steps.
//
//   summaries   (scan, channel, chunk): the chunk's sum of delta and the state it ends with when it starts from zero
//   carries     over the chunks of a scan: the state each starts with. A chunk decays by exp2(A2 * sum of delta).
//   outputs     a chunk again, from its right state. Directions with the same slices visit the same tokens in a chunk,
//               from one end or the other: one block does them all, and writes y once, without atomics.
//
// A lane is a channel with its states in registers; B and C are broadcasts from shared memory. Directions without
// slices have kernels of their own, cuda_neighbour_passes.cuh. In those here, for any scan, tokens are transposed into
// shared memory a tile at a time, and one warp is a block: nothing waits for more than its own warp. N = 8 and
// multiples of 16 are walked as they are, other N in blocks of 8 states, the last one filled up with states that stay
// 0.
//
// The floor at L = 262144, D = 96, N = 16, R = 6, K = 2, B = 1, float16, with a gate: 805 M state updates.
//                                     H100 (132 SMs, 1.7 GHz, 3.35 TB/s)   Orin (16 SMs, 1.3 GHz, 205 GB/s)
//   ex2, one an update, 16/clk/SM     0.224 ms                             2.42 ms
//   float operations, 4 an update     0.112 ms                             1.21 ms
//   bytes: u 101, x_dbl 40,           0.072 ms                             1.18 ms
//     y and z 101 MB = 241 MB
// This design computes every exp2 twice (summaries, outputs) and one more special function a step for softplus each
// time, so 2.2 times the first line: 0.49 ms, 5.3 ms at full rate. Bytes: u twice, x_dbl 1.6 times, z, y three times
// (it holds half of every sum over directions until it is whole): 468 MB, and the carries, 2048 chunks * 96 * 17 * 2
// floats = 27 MB written, read twice, written and read = 134 MB: 0.18 ms, 2.9 ms, of which a large L2 cache saves the
// carries and two of the three. docs/explanation/cuda-kernels.md has the instructions of each pass.
#include "ops/selective_scan/cuda_neighbour_passes.cuh"
#include "ops/selective_scan/cuda_walk.cuh"

namespace msdk::cuda {
namespace {

constexpr int kCarryWarps = 32, kCarryBatch = 8;

template <class T, int kStates>
__global__ void __launch_bounds__(kWarp, 12)
    summaries_kernel(const SelectiveScanArgs<T> a, const Plan plan, const Group group, float* states, float* sums) {
  using Steps = Walk<T, kStates, kStates>;
  MSDK_SHARED(Tile<kStates>, tile);
  int64_t index = blockIdx.x;
  const int64_t channel_block = index % plan.channel_blocks;
  index /= plan.channel_blocks;
  const int64_t state_blocks = (a.states + kStates - 1) / kStates;
  const int first_state = static_cast<int>(index % state_blocks) * kStates;
  index /= state_blocks;
  const int64_t number = index % plan.chunks;
  index /= plan.chunks;
  const int scan = group.scans[index % group.count];
  const int64_t batch = index / group.count;
  if (number == (a.directions.items[scan].backward ? 0 : plan.chunks - 1)) return;  // nothing follows it

  const Steps walk{a, tile, batch, channel_block, scan, first_state, chunk_of(plan, a.length, number)};
  float A2[kStates], h[kStates] = {}, sum = 0.0f;
  walk.load_A(A2);
  for (int first = 0; first < walk.chunk.count; first += kTile) {
    walk.stage(first);
    __syncwarp();
    for (int quad = 0; walk.real() && quad < kTile && first + quad < walk.chunk.count; quad += kQuad) {
      float delta[kQuad];
      walk.delta_of(first, quad, delta);
#pragma unroll
      for (int i = 0; i < kQuad; ++i) {
        sum += delta[i];
        walk.advance(quad + i, delta[i], tile.u[quad + i][walk.lane()], A2, h);
      }
    }
    __syncwarp();
  }
  if (!walk.real()) return;
  const int64_t at = walk.state_index(plan, number);
#pragma unroll
  for (int n = 0; n < kStates; ++n) {
    if (first_state + n < a.states) states[at + n * a.channels] = h[n];
  }
  if (first_state == 0) {
    sums[((batch * a.directions.count + scan) * plan.chunks + number) * a.channels + walk.channel()] = sum;
  }
}

struct Segments {
  float sum[kCarryWarps][kWarp], state[kCarryWarps][kWarp];
};

// One state of 32 channels of one scan. Every warp takes a run of chunks in the order of the direction.
struct CarryWalk {
  float *states, *sums;
  int64_t channels, states_of_chunk, chunks, begin, end;
  bool backward;

  // Calls f(sum of delta, state, pointer to the state) for every chunk; loads of a batch are under way together.
  template <class F>
  __device__ __forceinline__ void each(F&& f) const {
    for (int64_t first = begin; first < end; first += kCarryBatch) {
      float sum[kCarryBatch], state[kCarryBatch];
#pragma unroll
      for (int i = 0; i < kCarryBatch; ++i) {
        const bool summarised = first + i < end && first + i < chunks - 1;  // the last chunk is not
        sum[i] = summarised ? sums[number(first + i) * channels] : 0.0f;
        state[i] = summarised ? states[number(first + i) * states_of_chunk] : 0.0f;
      }
#pragma unroll
      for (int i = 0; i < kCarryBatch; ++i) {
        if (first + i < end) f(sum[i], state[i], states + number(first + i) * states_of_chunk);
      }
    }
  }

  __device__ __forceinline__ int64_t number(int64_t visited) const { return backward ? chunks - 1 - visited : visited; }
};

template <class T>
__global__ void __launch_bounds__(kCarryWarps* kWarp)
    carries_kernel(const SelectiveScanArgs<T> a, const Plan plan, float* states, float* sums) {
  MSDK_SHARED(Segments, segments);
  int64_t index = blockIdx.x;
  const int64_t channel_block = index % plan.channel_blocks;
  index /= plan.channel_blocks;
  const int64_t state = index % a.states, scan_row = index / a.states;  // of batch and scan
  const int64_t scan = scan_row % a.directions.count;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int64_t channel = channel_block * kWarp + lane;
  const bool real = channel < a.channels;
  const int64_t run = (plan.chunks + warps - 1) / warps;
  CarryWalk walk;
  walk.states = states + (scan_row * plan.chunks * a.states + state) * a.channels + channel;
  walk.sums = sums + scan_row * plan.chunks * a.channels + channel;
  walk.channels = a.channels;
  walk.states_of_chunk = a.states * a.channels;
  walk.chunks = plan.chunks;
  walk.begin = min(warp * run, plan.chunks);
  walk.end = real ? min(walk.begin + run, plan.chunks) : walk.begin;
  walk.backward = a.directions.items[scan].backward;
  const float A2 = real ? kLog2E * a.A[(scan * a.channels + channel) * a.states + state] : 0.0f;

  float sum = 0.0f, h = 0.0f;
  walk.each([&](float chunk_sum, float chunk_state, float*) {
    sum += chunk_sum;
    h = exp2_approx(A2 * chunk_sum) * h + chunk_state;
  });
  segments.sum[warp][lane] = sum;
  segments.state[warp][lane] = h;
  __syncthreads();
  h = 0.0f;
  for (int w = 0; w < warp; ++w) h = exp2_approx(A2 * segments.sum[w][lane]) * h + segments.state[w][lane];
  walk.each([&](float chunk_sum, float chunk_state, float* start) {
    *start = h;
    h = exp2_approx(A2 * chunk_sum) * h + chunk_state;
  });
}

template <class T, int kStates>
__global__ void __launch_bounds__(kWarp, 8)
    outputs_kernel(const SelectiveScanArgs<T> a, const Plan plan, const Group group, const float* states,
                   const Accumulation sums) {
  using Steps = Walk<T, kStates, 2 * kStates>;
  MSDK_SHARED(Tile<2 * kStates>, tile);
  MSDK_DYNAMIC_SHARED(float, y);  // (chunk_steps, kPitch)
  int64_t index = blockIdx.x;
  const int64_t channel_block = index % plan.channel_blocks;
  index /= plan.channel_blocks;
  const int64_t number = index % plan.chunks, batch = index / plan.chunks;
  const Chunk chunk = chunk_of(plan, a.length, number);
  const int lane = static_cast<int>(threadIdx.x);

  for (int g = 0; g < group.count; ++g) {
    const int scan = group.scans[g];
    const bool backward = a.directions.items[scan].backward;
    for (int first_state = 0; first_state < a.states; first_state += kStates) {
      const Steps walk{a, tile, batch, channel_block, scan, first_state, chunk};
      const bool fresh = g == 0 && first_state == 0;
      const bool from_zero = number == (backward ? plan.chunks - 1 : 0);
      const float skip = walk.real() && first_state == 0 ? a.D_skip[scan * a.channels + walk.channel()] : 0.0f;
      float A2[kStates], h[kStates];
      walk.load_A(A2);
      const int64_t at = walk.state_index(plan, number);
#pragma unroll
      for (int n = 0; n < kStates; ++n) {
        h[n] = walk.real() && !from_zero && first_state + n < a.states ? states[at + n * a.channels] : 0.0f;
      }
      for (int first = 0; first < chunk.count; first += kTile) {
        walk.stage(first);
        __syncwarp();
        for (int quad = 0; walk.real() && quad < kTile && first + quad < chunk.count; quad += kQuad) {
          float delta[kQuad];
          walk.delta_of(first, quad, delta);
#pragma unroll
          for (int i = 0; i < kQuad; ++i) {
            const int step = first + quad + i;
            if (step >= chunk.count) break;
            const float u = tile.u[quad + i][lane];
            walk.advance(quad + i, delta[i], u, A2, h);
            float* sum = &y[(backward ? chunk.count - 1 - step : step) * kPitch + lane];
            *sum = (fresh ? 0.0f : *sum) + skip * u + walk.output(quad + i, h);
          }
        }
        __syncwarp();
      }
    }
  }
  const Direction forwards{a.directions.items[group.scans[0]].slices, false};
  for (int step = lane; step < chunk.count; step += kWarp) {
    const int64_t token = token_of(forwards, chunk, a.length, step);
#pragma unroll 8
    for (int c = 0; c < kWarp; ++c) {
      const int64_t channel = channel_block * kWarp + c;
      if (channel >= a.channels) break;
      const int64_t at = (batch * a.channels + channel) * a.length + token;
      float sum = y[step * kPitch + c];
      if (!sums.first) sum += sums.y_before[at];
      if (!sums.last) {
        sums.y_before[at] = sum;
        continue;
      }
      sum *= a.scale;
      if (a.z) sum *= silu(to_float(a.z[at]));
      a.y[at] = from_float<T>(sum);
    }
  }
}

float* partial_y(const SelectiveScanArgs<float>& a, char*) { return a.y; }
float* partial_y(const SelectiveScanArgs<Half>&, char* scratch) { return reinterpret_cast<float*>(scratch); }

template <class T, int kStates>
const char* summarise(const SelectiveScanArgs<T>& a, const Plan& plan, const Group& group, float* states, float* sums,
                      Stream stream) {
  if (of_neighbours(a, plan, group)) return summarise_neighbours(a, plan, group, states, sums, stream);
  const int64_t blocks =
      product({a.batch, plan.chunks, plan.channel_blocks, group.count, divide_up(a.states, kStates)});
  return launch(summaries_kernel<T, kStates>, dim3(static_cast<unsigned>(blocks)), dim3(kWarp), 0, stream, a, plan,
                group, states, sums);
}

template <class T, int kStates>
const char* output(const SelectiveScanArgs<T>& a, const Plan& plan, const Group& group, const float* states,
                   const Accumulation& accumulation, Stream stream) {
  if (of_neighbours(a, plan, group)) return output_neighbours(a, plan, group, states, accumulation, stream);
  const int64_t blocks = product({a.batch, plan.chunks, plan.channel_blocks});
  const size_t y_bytes = static_cast<size_t>(std::min(plan.chunk_steps, a.length)) * kPitch * sizeof(float);
  if (const char* refused = prefer_shared_memory(outputs_kernel<T, kStates>)) return refused;
  return launch(outputs_kernel<T, kStates>, dim3(static_cast<unsigned>(blocks)), dim3(kWarp), y_bytes, stream, a, plan,
                group, states, accumulation);
}

template <class T, int kStates>
const char* run(const SelectiveScanArgs<T>& a, char* workspace, Stream stream) {
  const Plan plan = plan_of(a);
  const int64_t summaries =
      product({a.batch, plan.chunks, plan.channel_blocks, a.directions.count, divide_up(a.states, kStates)});
  const int64_t carries = product({a.batch, a.directions.count, a.states, plan.channel_blocks});
  if (summaries > INT32_MAX || carries > INT32_MAX) {
    return "selective_scan: too many channels, states and batch entries for one launch; split the batch";
  }
  const Layout layout = layout_of(a);
  float* states = reinterpret_cast<float*>(workspace);
  float* sums = reinterpret_cast<float*>(workspace + layout.sums);
  Group groups[kMaxDirections];
  const int group_count = groups_of(a.directions, groups);
  if (plan.chunks > 1) {
    for (int g = 0; g < group_count; ++g) {
      if (const char* refused = summarise<T, kStates>(a, plan, groups[g], states, sums, stream)) return refused;
    }
    const int64_t carry_warps = std::min<int64_t>(kCarryWarps, divide_up(plan.chunks, kCarryBatch));
    if (const char* refused =
            launch(carries_kernel<T>, dim3(static_cast<unsigned>(carries)),
                   dim3(static_cast<unsigned>(carry_warps * kWarp)), 0, stream, a, plan, states, sums)) {
      return refused;
    }
  }
  for (int g = 0; g < group_count; ++g) {
    const Accumulation accumulation{partial_y(a, workspace + layout.y), g == 0, g == group_count - 1};
    if (const char* refused = output<T, kStates>(a, plan, groups[g], states, accumulation, stream)) return refused;
  }
  return nullptr;
}

}  // namespace

template <class T>
size_t selective_scan_workspace(const SelectiveScanArgs<T>& args) {
  return static_cast<size_t>(layout_of(args).bytes);
}

template <class T>
const char* selective_scan(const SelectiveScanArgs<T>& args, void* workspace, Stream stream) {
  if (args.batch == 0 || args.channels == 0 || args.length == 0) return nullptr;
  if (args.length > INT32_MAX) return "selective_scan: at most 2147483647 tokens are supported";
  char* bytes = static_cast<char*>(workspace);
  return args.states % 16 == 0 ? run<T, 16>(args, bytes, stream) : run<T, 8>(args, bytes, stream);
}

template size_t selective_scan_workspace(const SelectiveScanArgs<float>&);
template size_t selective_scan_workspace(const SelectiveScanArgs<Half>&);
template const char* selective_scan(const SelectiveScanArgs<float>&, void*, Stream);
template const char* selective_scan(const SelectiveScanArgs<Half>&, void*, Stream);

}  // namespace msdk::cuda
