// The walk over steps whose tokens are neighbours: directions without slices, rows of tokens that loads of 16 bytes can
// read, a multiple of 16 states, at most 8 rows of dt. Everything else takes the walk of cuda_walk.cuh.
//
// A block is two or three warps, each 32 channels, that share B, C and dt of a tile of 16 steps. While a tile is
// walked, the next one is on its way to registers, and u of a lane's next steps too; a tile costs one barrier.
#pragma once

#include "cuda/sixteen.cuh"
#include "ops/selective_scan/cuda_plan.cuh"
#include "ops/selective_scan/cuda_recurrence.cuh"

namespace msdk::cuda {
namespace {

constexpr int kStatesAtOnce = 16;
constexpr int kStepsOfTile = 16;
constexpr int kMostRank = 8;

// As many neighbouring tokens as 16 bytes hold, as they lie in memory.
template <class T>
struct Tokens;

template <>
struct Tokens<float> {
  static constexpr int kCount = 4;
  float4 bits;

  __device__ __forceinline__ void unpack(float* x) const { x[0] = bits.x, x[1] = bits.y, x[2] = bits.z, x[3] = bits.w; }
  __device__ __forceinline__ static Tokens pack(const float* x) { return {make_float4(x[0], x[1], x[2], x[3])}; }
};

template <>
struct Tokens<Half> {
  static constexpr int kCount = 8;
  uint4 bits;

  __device__ __forceinline__ void unpack(float* x) const {
    to_floats(bits.x, x), to_floats(bits.y, x + 2), to_floats(bits.z, x + 4), to_floats(bits.w, x + 6);
  }
  __device__ __forceinline__ static Tokens pack(const float* x) {
    return {make_uint4(two_halves(x[0], x[1]), two_halves(x[2], x[3]), two_halves(x[4], x[5]), two_halves(x[6], x[7]))};
  }
};

template <class T>
__device__ __forceinline__ Tokens<T> load_tokens(const T* p) {
  return {*reinterpret_cast<const decltype(Tokens<T>::bits)*>(p)};
}

template <class T>
__device__ __forceinline__ void store_tokens(T* p, const Tokens<T>& tokens) {
  *reinterpret_cast<decltype(Tokens<T>::bits)*>(p) = tokens.bits;
}

// Between the order of steps and that of tokens.
template <int kCount>
__device__ __forceinline__ void reverse_if(bool backward, float* x) {
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) {
    const float first = x[i], last = x[kCount - 1 - i];
    x[i] = backward ? last : first;
    x[kCount - 1 - i] = backward ? first : last;
  }
}

// kRank: rows of dt in a tile, those past the last are zeros. kMatrices: 1 for B, 2 for B and C.
template <class T, int kRank, int kMatrices>
class NeighbourWalk {
 public:
  static constexpr int kCount = Tokens<T>::kCount;  // steps whose u is one load
  static constexpr int kRows = kMatrices * kStatesAtOnce;

  struct alignas(16) Tile {
    float rows[kStepsOfTile][kRows + 4];  // of a step: B, then C
    float dt[kRank][kStepsOfTile];
  };

  __device__ NeighbourWalk(const SelectiveScanArgs<T>& a, const Chunk& chunk, int batch, int channel)
      : a_(a), chunk_(chunk), batch_(batch), channel_(channel) {}

  __device__ bool real() const { return channel_ < a_.channels; }
  __device__ bool backward() const { return backward_; }

  // The first token of the chunk's steps step .. step + kCount - 1, counted from the chunk's first token.
  __device__ __forceinline__ int token(int step) const { return backward_ ? chunk_.count - kCount - step : step; }

  // Turns to 16 states of a scan.
  __device__ __forceinline__ void begin(int scan, int first_state) {
    backward_ = a_.directions.items[scan].backward;
    first_state_ = first_state;
    const int64_t scan_row = static_cast<int64_t>(batch_) * a_.directions.count + scan;
    x_dbl_ = a_.x_dbl + scan_row * (a_.dt_rank + 2 * a_.states) * a_.length + chunk_.begin;
    if (!real()) return;
    u_ = a_.u + (scan_row * a_.channels + channel_) * a_.length + chunk_.begin;
    const int64_t parameters = scan * a_.channels + channel_;
    bias_ = a_.dt_bias[parameters];
#pragma unroll
    for (int r = 0; r < kRank; ++r) weight_[r] = r < a_.dt_rank ? a_.dt_weight[parameters * a_.dt_rank + r] : 0.0f;
#pragma unroll
    for (int n = 0; n < kStatesAtOnce; n += 4) {
      const float4 A = load_four(a_.A + parameters * a_.states + first_state + n);
      A2_[n] = kLog2E * A.x, A2_[n + 1] = kLog2E * A.y, A2_[n + 2] = kLog2E * A.z, A2_[n + 3] = kLog2E * A.w;
    }
    fetch_u(0);
  }

  // Starts to load B, C and dt of the tile that begins at a step of the chunk.
  __device__ __forceinline__ void fetch(int first) {
    const int step = first + part() * kCount;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int row = row_of(i);
      if (row < kRows + a_.dt_rank && step < chunk_.count) rows_[i] = load_tokens(row_at(row) + token(step));
    }
  }

  // Puts what was fetched into a tile that no thread reads any more.
  __device__ __forceinline__ void put(Tile& tile) const {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int row = row_of(i);
      if (row >= kRows + kRank) break;
      float values[kCount] = {};
      if (row < kRows + a_.dt_rank) rows_[i].unpack(values);
      reverse_if<kCount>(backward_, values);
      const int step = part() * kCount;
      if (row < kRows) {
#pragma unroll
        for (int j = 0; j < kCount; ++j) tile.rows[step + j][row] = values[j];
      } else {
#pragma unroll
        for (int j = 0; j < kCount; j += 4) {
          *reinterpret_cast<float4*>(&tile.dt[row - kRows][step + j]) =
              make_float4(values[j], values[j + 1], values[j + 2], values[j + 3]);
        }
      }
    }
  }

  // u of the chunk's steps step .. step + kCount - 1, in the order of steps; starts to load those that follow.
  __device__ __forceinline__ void inputs(int step, float* u) {
    u_bits_.unpack(u);
    reverse_if<kCount>(backward_, u);
    if (step + kCount < chunk_.count) fetch_u(step + kCount);
  }

  // delta of four steps of a tile.
  __device__ __forceinline__ void deltas(const Tile& tile, int step, float* delta) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) delta[i] = bias_;
#pragma unroll
    for (int r = 0; r < kRank; ++r) {
      const float4 dt = *reinterpret_cast<const float4*>(&tile.dt[r][step]);
      delta[0] += weight_[r] * dt.x;
      delta[1] += weight_[r] * dt.y;
      delta[2] += weight_[r] * dt.z;
      delta[3] += weight_[r] * dt.w;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) delta[i] = softplus(delta[i]);
  }

  // The states after a step of a tile.
  __device__ __forceinline__ void advance(const Tile& tile, int step, float delta, float u, float* h) const {
    advance_states<kStatesAtOnce>(tile.rows[step], delta, u, A2_, h);
  }

  // y + C.h
  __device__ __forceinline__ float output(const Tile& tile, int step, const float* h, float y) const {
    return with_output<kStatesAtOnce>(&tile.rows[step][kStatesAtOnce], h, y);
  }

 private:
  static constexpr int kParts = kStepsOfTile / kCount;  // loads of a row of a tile
  static constexpr int kLeastThreads = 2 * kWarp;
  static constexpr int kLoads = (kParts * (kRows + kRank) + kLeastThreads - 1) / kLeastThreads;

  __device__ static int part() { return static_cast<int>(threadIdx.x) % kParts; }
  // Rows B, C, then dt.
  __device__ static int row_of(int load) { return static_cast<int>(threadIdx.x + load * blockDim.x) / kParts; }

  __device__ __forceinline__ const T* row_at(int row) const {
    const int state = row % kStatesAtOnce, matrix = row / kStatesAtOnce;
    const int source = row < kRows ? a_.dt_rank + matrix * a_.states + first_state_ + state : row - kRows;
    return x_dbl_ + source * a_.length;
  }

  __device__ __forceinline__ void fetch_u(int step) { u_bits_ = load_tokens(u_ + token(step)); }

  const SelectiveScanArgs<T>& a_;
  const Chunk chunk_;
  const int batch_, channel_;
  bool backward_;
  int first_state_;
  const T *u_, *x_dbl_;
  float bias_, weight_[kRank], A2_[kStatesAtOnce];
  Tokens<T> u_bits_, rows_[kLoads];
};

}  // namespace
}  // namespace msdk::cuda
