// The KAN layer of float16 on tensor cores: features rounded to float16, weights as the sum of two halves, sums in
// float32. The second half holds what the first one lost: 22 bits of a weight, down to 2^-25. A weight beyond 65504,
// and an infinite x, give NaN.
#pragma once

#include "cuda/sixteen.cuh"
#include "cuda/tensor_cores.cuh"
#include "ops/kan_linear/cuda_features.cuh"

namespace msdk::cuda {
namespace {

constexpr int kProductTokens = 128, kProductOutputs = 96;  // of a block
constexpr int kWarpTokens = 32, kWarpOutputs = 48;         // of a warp of it
constexpr int kProductThreads = kProductTokens / kWarpTokens * (kProductOutputs / kWarpOutputs) * kWarp;
constexpr int kProductRows = 32;  // at once, each a feature of two neighbouring channels
constexpr int kMmaRows = 8;       // of one product on tensor cores

// Pitches of 8 modulo 32 words: the lanes of a fragment, 4 rows by 8 columns, lie in 32 banks.
struct alignas(16) KanProductTile {
  unsigned features[kProductRows][kProductTokens + 8];
  unsigned high[kProductRows][kProductOutputs + 8];
  unsigned low[kProductRows][kProductOutputs + 8];
};

// Where a row comes from: the first of two channels, and the feature of each, SiLU or a spline.
struct FeatureRow {
  int channel, feature;

  __device__ FeatureRow(int row, int features) : channel(row / features * 2), feature(row % features) {}
  __device__ void next(int features) {
    if (++feature == features) feature = 0, channel += 2;
  }
};

// 16 rows of features of one token.
__device__ __forceinline__ void make_features(KanProductTile& tile, const KanLinearArgs<Half>& a, int64_t batch,
                                              int64_t token, int column, int first_row, int row_of_tile) {
  const int features = a.bases + 1, channels = static_cast<int>(a.in_channels);
  const float knots_per_unit = (a.bases - 3) / (a.grid_max - a.grid_min);
  const bool inside = token < a.length;
  const Half* x = a.x + batch * a.in_channels * a.length + token;
  FeatureRow from(first_row + row_of_tile, features);
  float x0 = 0.0f, x1 = 0.0f;
  for (int row = 0; row < kProductRows / 2; ++row, from.next(features)) {
    const bool first = from.channel < channels, second = from.channel + 1 < channels;
    if (row == 0 || from.feature == 0) {
      x0 = inside && first ? to_float(x[from.channel * a.length]) : 0.0f;
      x1 = inside && second ? to_float(x[(from.channel + 1) * a.length]) : 0.0f;
    }
    float f0, f1;
    if (from.feature == 0) {
      f0 = silu(x0), f1 = silu(x1);
    } else {
      const float knot = static_cast<float>(from.feature - 1) - 3.0f;
      f0 = cubic_bspline((x0 - a.grid_min) * knots_per_unit - knot);
      f1 = cubic_bspline((x1 - a.grid_min) * knots_per_unit - knot);
    }
    tile.features[row_of_tile + row][column] = two_halves(first ? f0 : 0.0f, second ? f1 : 0.0f);
  }
}

__device__ __forceinline__ float kan_weight(const KanLinearArgs<Half>& a, int64_t output, int channel, int feature) {
  if (output >= a.out_channels || channel >= a.in_channels) return 0.0f;
  const int64_t weight = output * a.in_channels + channel;
  return feature == 0 ? a.base_weight[weight] : a.spline_weight[weight * a.bases + feature - 1];
}

// Every row of the outputs that the thread has.
__device__ __forceinline__ void split_weights(KanProductTile& tile, const KanLinearArgs<Half>& a, int64_t first_output,
                                              int first_row, int thread) {
  const FeatureRow from(first_row + thread % kProductRows, a.bases + 1);
#pragma unroll 4
  for (int output = thread / kProductRows; output < kProductOutputs; output += kProductThreads / kProductRows) {
    const float w0 = kan_weight(a, first_output + output, from.channel, from.feature);
    const float w1 = kan_weight(a, first_output + output, from.channel + 1, from.feature);
    const unsigned high = two_halves(w0, w1);
    float rounded[2];
    to_floats(high, rounded);
    tile.high[thread % kProductRows][output] = high;
    tile.low[thread % kProductRows][output] = two_halves(w0 - rounded[0], w1 - rounded[1]);
  }
}

constexpr int kTokenTiles = kWarpTokens / 8, kOutputTiles = kWarpOutputs / 16;

// Adds the products of the tile's rows to a warp's sums.
__device__ __forceinline__ void multiply_tile(float (&sums)[kOutputTiles][kTokenTiles][4], const KanProductTile& tile,
                                              int output, int token) {
  const int column = static_cast<int>(threadIdx.x) % kWarp / 4, row = static_cast<int>(threadIdx.x) % 4;
#pragma unroll 2
  for (int k = row; k < kProductRows; k += kMmaRows) {
    unsigned features[kTokenTiles][2];
#pragma unroll
    for (int t = 0; t < kTokenTiles; ++t) {
      features[t][0] = tile.features[k][token + 8 * t + column];
      features[t][1] = tile.features[k + 4][token + 8 * t + column];
    }
#pragma unroll
    for (int o = 0; o < kOutputTiles; ++o) {
      const int at = output + 16 * o + column;
      const unsigned high[4] = {tile.high[k][at], tile.high[k][at + 8], tile.high[k + 4][at], tile.high[k + 4][at + 8]};
      const unsigned low[4] = {tile.low[k][at], tile.low[k][at + 8], tile.low[k + 4][at], tile.low[k + 4][at + 8]};
#pragma unroll
      for (int t = 0; t < kTokenTiles; ++t) {
        multiply_16_8_16(sums[o][t], high, features[t]);
        multiply_16_8_16(sums[o][t], low, features[t]);
      }
    }
  }
}

__global__ void __launch_bounds__(kProductThreads, 2)
    kan_product_kernel(const KanLinearArgs<Half> a, const int64_t token_tiles, const int64_t output_tiles) {
  MSDK_SHARED(KanProductTile, tile);
  int64_t index = blockIdx.x;
  const int64_t first_output = index % output_tiles * kProductOutputs;  // neighbouring blocks read the same tokens
  index /= output_tiles;
  const int64_t first_token = index % token_tiles * kProductTokens, batch = index / token_tiles;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
  const int output = warp % (kProductOutputs / kWarpOutputs) * kWarpOutputs;
  const int token = warp / (kProductOutputs / kWarpOutputs) * kWarpTokens;
  const int rows = static_cast<int>((a.in_channels + 1) / 2) * (a.bases + 1);
  const bool idle = first_output + output >= a.out_channels || first_token + token >= a.length;

  float sums[kOutputTiles][kTokenTiles][4] = {};
  for (int first_row = 0; first_row < rows; first_row += kProductRows) {
    make_features(tile, a, batch, first_token + thread % kProductTokens, thread % kProductTokens, first_row,
                  thread / kProductTokens * (kProductRows / 2));
    split_weights(tile, a, first_output, first_row, thread);
    __syncthreads();
    if (!idle) multiply_tile(sums, tile, output, token);
    __syncthreads();
  }
  const int row = thread % kWarp / 4, column = thread % 4 * 2;
#pragma unroll
  for (int o = 0; o < kOutputTiles; ++o) {
#pragma unroll
    for (int t = 0; t < kTokenTiles; ++t) {
#pragma unroll
      for (int sum = 0; sum < 4; ++sum) {
        const int64_t y_row = first_output + output + 16 * o + row + sum / 2 * 8;
        const int64_t y_token = first_token + token + 8 * t + column + sum % 2;
        if (y_row < a.out_channels && y_token < a.length) {
          a.y[(batch * a.out_channels + y_row) * a.length + y_token] = from_float<Half>(sums[o][t][sum]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace msdk::cuda
