// A KAN layer: a matrix product whose left operand, SiLU and the B-splines of a block of channels, is made in shared
// memory for a tile of tokens and never exists anywhere else.
//
// float16 goes to tensor cores (cuda_tensor_cores.cuh). For float32, whose results have to agree to 2e-6, a block is 64
// tokens by 64 outputs, a thread 4 by 4 of them. Its floor at C = O = 96, G = 8, L = 262144: 21.7 G fused
// multiply-adds, 0.76 ms on H100 (132 SMs, 128 a clock, 1.7 GHz) and 8.2 ms on Orin. Features are computed once for
// every 64 outputs, some 10 operations each against 64.
#include "ops/kan_linear/cuda.h"

#include "ops/kan_linear/cuda_features.cuh"
#include "ops/kan_linear/cuda_tensor_cores.cuh"

namespace msdk::cuda {
namespace {

constexpr int kTile = 64;  // tokens, and outputs
constexpr int kPerThread = 4;
constexpr int kThreads = (kTile / kPerThread) * (kTile / kPerThread);
constexpr int kFeatures = kMaxSplineBases + 1;  // rows of a block of channels
constexpr int kPitch = kTile + 4;

struct alignas(16) KanTile {
  float features[kFeatures][kTile];
  float weights[kFeatures][kPitch];
};

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
  const int channels_at_once = kFeatures / rows_per_channel;
  const float knots_per_unit = (a.bases - 3) / (a.grid_max - a.grid_min);

  float sums[kPerThread][kPerThread] = {};  // [output][token]
  for (int64_t c0 = 0; c0 < a.in_channels; c0 += channels_at_once) {
    const int channels = static_cast<int>(min(a.in_channels - c0, static_cast<int64_t>(channels_at_once)));
    for (int i = thread; i < channels * kTile; i += kThreads) {
      const int c = i / kTile, t = i % kTile;
      const bool inside = first_token + t < a.length;
      const float x = inside ? a.x[(batch * a.in_channels + c0 + c) * a.length + first_token + t] : 0.0f;
      const float position = (x - a.grid_min) * knots_per_unit + 3.0f;
      tile.features[c * rows_per_channel][t] = silu(x);
      for (int g = 0; g < a.bases; ++g) {
        tile.features[c * rows_per_channel + 1 + g][t] = cubic_bspline(position - static_cast<float>(g));
      }
    }
    const int rows = channels * rows_per_channel;
    for (int i = thread; i < rows * kTile; i += kThreads) {
      const int row = i % rows, o = i / rows;
      const int c = row / rows_per_channel, g = row % rows_per_channel - 1;
      const int64_t weight = (first_output + o) * a.in_channels + c0 + c;
      tile.weights[row][o] = first_output + o >= a.out_channels ? 0.0f
                             : g < 0                            ? a.base_weight[weight]
                                                                : a.spline_weight[weight * a.bases + g];
    }
    __syncthreads();
#pragma unroll 2
    for (int row = 0; row < rows; ++row) {
      const float4 f = *reinterpret_cast<const float4*>(&tile.features[row][token]);
      const float4 w = *reinterpret_cast<const float4*>(&tile.weights[row][output]);
      const float feature[kPerThread] = {f.x, f.y, f.z, f.w}, weight[kPerThread] = {w.x, w.y, w.z, w.w};
#pragma unroll
      for (int o = 0; o < kPerThread; ++o) {
#pragma unroll
        for (int t = 0; t < kPerThread; ++t) sums[o][t] += weight[o] * feature[t];
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
