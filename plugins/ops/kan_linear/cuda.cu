// A KAN layer: a matrix product whose left operand, SiLU and the B-splines of a block of channels, is made in shared
// memory for a tile of tokens and never exists anywhere else.
//
// float16 goes to tensor cores (cuda_tensor_cores.cuh). For float32, whose results have to agree to 2e-6, a block is 64
// tokens by 64 outputs, a thread 4 by 4 of them. Its floor at C = O = 96, G = 8, L = 262144: 21.7 G fused
// multiply-adds, 0.76 ms on H100 (132 SMs, 128 a clock, 1.7 GHz) and 8.2 ms on Orin. Features are computed once for
// every 64 outputs, some 5 operations each against 64.
#include "ops/kan_linear/cuda.h"

#include "ops/kan_linear/cuda_features.cuh"
#include "ops/kan_linear/cuda_tensor_cores.cuh"

namespace msdk::cuda {
namespace {

constexpr int kTile = 64;  // tokens, and outputs
constexpr int kPerThread = 4;
constexpr int kThreads = (kTile / kPerThread) * (kTile / kPerThread);
constexpr int kRowsAtOnce = 4;
constexpr int kFeatures = kMaxSplineBases + kRowsAtOnce;  // rows of a block of channels
constexpr int kPitch = kTile + 4;

struct alignas(16) KanTile {
  float features[kFeatures][kTile];
  float weights[kFeatures][kPitch];
};

constexpr int kRowThreads = kTile;  // those that stage the same outputs, or the same channel

// Rows of features without a spline are zero, and so are those up to a multiple of four.
__device__ __forceinline__ void clear_features(KanTile& tile, int rows, int thread) {
  constexpr int in_row = kTile / 4;
  const float4 zeros = make_float4(0, 0, 0, 0);
#pragma unroll
  for (int row = 0; row < kRowThreads; row += kThreads / in_row) {
    *reinterpret_cast<float4*>(&tile.features[row + thread / in_row][thread % in_row * 4]) = zeros;
  }
  if (rows > kRowThreads && thread < kRowsAtOnce * in_row) {
    *reinterpret_cast<float4*>(&tile.features[kRowThreads + thread / in_row][thread % in_row * 4]) = zeros;
  }
}

// Features of a block of channels, of the token that the thread has.
__device__ __forceinline__ void make_features(KanTile& tile, const KanLinearArgs<float>& a, const float* x, bool inside,
                                              int channels, float knots_per_unit, int thread) {
  const int t = thread % kTile;
  for (int c = thread / kTile; c < channels; c += kThreads / kTile) {
    const float value = inside ? x[c * a.length] : 0.0f;
    float* const feature = &tile.features[c * (a.bases + 1)][t];
    feature[0] = silu(value);
    const Splines splines = splines_at(spline_position(value, a.grid_min, knots_per_unit, a.bases));
    float* const spline = feature + (1 + splines.first) * kTile;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (static_cast<unsigned>(splines.first + j) < static_cast<unsigned>(a.bases))
        spline[j * kTile] = splines.values[j];
    }
  }
}

// Of one feature, the weight of a channel and an output; steps to their neighbours.
struct Weight {
  const float* at;
  int64_t to_next_channel, to_next_output;

  __device__ Weight(const KanLinearArgs<float>& a, int64_t output, int64_t channel, int feature)
      : to_next_channel(feature == 0 ? 1 : a.bases), to_next_output(a.in_channels * to_next_channel) {
    at = (feature == 0 ? a.base_weight : a.spline_weight + (feature - 1)) + output * to_next_output +
         channel * to_next_channel;
  }
};

// The weights of a row, for every fourth output. outputs: how many there are from the thread's first one on.
__device__ __forceinline__ void stage_weights(KanTile& tile, const Weight& weight, int row, int outputs, int thread) {
  constexpr int step = kThreads / kRowThreads;
  const float* at = weight.at;
  float* const staged = &tile.weights[row][thread / kRowThreads];
#pragma unroll 8
  for (int o = 0; o < kTile; o += step) {
    staged[o] = o < outputs ? *at : 0.0f;
    at += step * weight.to_next_output;
  }
}

__global__ void __launch_bounds__(kThreads, 3)
    kan_kernel(const KanLinearArgs<float> a, const int64_t token_tiles, const int64_t output_tiles) {
  MSDK_SHARED(KanTile, tile);
  int64_t index = blockIdx.x;
  const int64_t first_output = index % output_tiles * kTile;  // neighbouring blocks read the same tokens
  index /= output_tiles;
  const int64_t first_token = index % token_tiles * kTile, batch = index / token_tiles;
  const int thread = static_cast<int>(threadIdx.x);
  const int token = thread % (kTile / kPerThread) * kPerThread, output = thread / (kTile / kPerThread) * kPerThread;
  const int rows_per_channel = a.bases + 1;  // SiLU, then the bases
  const int channels_at_once = max(kRowThreads / rows_per_channel, 1);
  const float knots_per_unit = (a.bases - 3) / (a.grid_max - a.grid_min);
  const bool inside = first_token + thread % kTile < a.length;
  const float* const x = a.x + batch * a.in_channels * a.length + first_token + thread % kTile;
  const int row_of_thread = thread % kRowThreads, first_of_thread = thread / kRowThreads;
  const int outputs =
      static_cast<int>(min(a.out_channels - first_output, static_cast<int64_t>(kTile))) - first_of_thread;
  Weight weight(a, first_output + first_of_thread, row_of_thread / rows_per_channel, row_of_thread % rows_per_channel);

  float sums[kPerThread][kPerThread] = {};  // [output][token]
  for (int64_t c0 = 0; c0 < a.in_channels; c0 += channels_at_once) {
    const int channels = static_cast<int>(min(a.in_channels - c0, static_cast<int64_t>(channels_at_once)));
    const int rows = channels * rows_per_channel;
    clear_features(tile, rows, thread);
    stage_weights(tile, weight, row_of_thread, row_of_thread < rows ? outputs : 0, thread);
    weight.at += channels_at_once * weight.to_next_channel;
    if (rows > kRowThreads && row_of_thread < kRowsAtOnce) {  // row 64 is there for 64 bases alone
      const Weight last(a, first_output + first_of_thread, c0, kRowThreads);
      stage_weights(tile, last, kRowThreads + row_of_thread, row_of_thread == 0 ? outputs : 0, thread);
    }
    __syncthreads();
    make_features(tile, a, x + c0 * a.length, inside, channels, knots_per_unit, thread);
    __syncthreads();
    for (int first_row = 0; first_row < rows; first_row += kRowsAtOnce) {
#pragma unroll
      for (int row = first_row; row < first_row + kRowsAtOnce; ++row) {
        const float4 f = *reinterpret_cast<const float4*>(&tile.features[row][token]);
        const float4 w = *reinterpret_cast<const float4*>(&tile.weights[row][output]);
        const float feature[kPerThread] = {f.x, f.y, f.z, f.w}, of_output[kPerThread] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int o = 0; o < kPerThread; ++o) {
#pragma unroll
          for (int t = 0; t < kPerThread; ++t) sums[o][t] += of_output[o] * feature[t];
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int o = 0; o < kPerThread; ++o) {
    if (first_output + output + o >= a.out_channels) break;
    float* y = a.y + (batch * a.out_channels + first_output + output + o) * a.length + first_token + token;
#pragma unroll
    for (int t = 0; t < kPerThread; ++t) {
      if (first_token + token + t < a.length) y[t] = sums[o][t];
    }
  }
}

// Launches a kernel whose blocks are so many tokens by so many outputs.
template <class T, class Kernel>
const char* launch_tiles(Kernel kernel, const KanLinearArgs<T>& args, int tokens, int outputs, int threads,
                         Stream stream) {
  const int64_t token_tiles = divide_up(args.length, tokens), output_tiles = divide_up(args.out_channels, outputs);
  const int64_t blocks = product({args.batch, token_tiles, output_tiles});
  if (blocks == 0) return nullptr;
  if (args.bases < 4 || args.bases > kMaxSplineBases) return "kan_linear: the number of bases must be 4 to 64";
  if (blocks > INT32_MAX) return "kan_linear: too many tokens and outputs for one launch; split the batch";
  if (const char* refused = prefer_shared_memory(kernel)) return refused;
  return launch(kernel, dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(threads)), 0, stream, args,
                token_tiles, output_tiles);
}

}  // namespace

template <>
const char* kan_linear(const KanLinearArgs<float>& args, Stream stream) {
  return launch_tiles(kan_kernel, args, kTile, kTile, kThreads, stream);
}

template <>
const char* kan_linear(const KanLinearArgs<Half>& args, Stream stream) {
  constexpr int64_t most_channels = 1 << 24;  // 65 features of each are counted in 32 bits
  if (args.in_channels > most_channels) return "kan_linear: at most 16777216 input channels in float16";
  return launch_tiles(kan_product_kernel, args, kProductTokens, kProductOutputs, kProductThreads, stream);
}

}  // namespace msdk::cuda
