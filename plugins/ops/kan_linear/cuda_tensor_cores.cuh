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

// Rows are the words of a token or an output, each of two halves; what 8 of them have in 16 bytes lies in 32 banks.
constexpr int kProductPitch = kProductRows + 4;

struct alignas(16) KanProductTile {
  unsigned features[kProductTokens][kProductPitch];
  unsigned high[kProductOutputs][kProductPitch];
  unsigned low[kProductOutputs][kProductPitch];
};

// Where a row comes from: the first of two channels, and the feature of each, SiLU or a spline.
struct FeatureRow {
  int channel, feature;

  __device__ FeatureRow(int row, int features) : channel(row / features * 2), feature(row % features) {}
  // `pairs` of channels and `more` features on, which are fewer than a channel has.
  __device__ void step(int pairs, int more, int features) {
    channel += 2 * pairs, feature += more;
    if (feature >= features) feature -= features, channel += 2;
  }
};

// A warp makes the features of 16 tokens: a lane those of a token and of the first or second channels of the pairs.
constexpr int kFeatureTokens = kProductTokens / (kProductThreads / kWarp);
static_assert(kFeatureTokens * 2 == kWarp && kProductRows == kWarp, "what a warp clears, and a lane makes");

// Rows of features without a spline are zero.
__device__ __forceinline__ void clear_features(KanProductTile& tile, int first_token, int lane) {
#pragma unroll
  for (int token = first_token; token < first_token + kFeatureTokens; token += kWarp / 8) {
    *reinterpret_cast<uint4*>(&tile.features[token + lane / 8][lane % 8 * 4]) = make_uint4(0, 0, 0, 0);
  }
}

// The features of a token in every other channel, from the row `first` on. x: of the first of the channels.
__device__ __forceinline__ void make_features(uint16_t* of_token, const KanLinearArgs<Half>& a, const Half* x,
                                              bool inside, int channel, int first_feature, float knots_per_unit) {
  const int features = a.bases + 1, channels = static_cast<int>(a.in_channels);
  for (int row = -first_feature; row < kProductRows && channel < channels; row += features, channel += 2) {
    const float value = inside ? to_float(*x) : 0.0f;
    x += 2 * a.length;
    if (row >= 0) of_token[2 * row] = from_float<Half>(silu(value)).bits;
    const int lowest = max(-1 - row, 0);  // spline of the tile
    const unsigned count = static_cast<unsigned>(min(a.bases, kProductRows - 1 - row) - lowest);
    const Splines splines = splines_at(spline_position(value, a.grid_min, knots_per_unit, a.bases));
    const int number = splines.first - lowest;
    uint16_t* const at = of_token + 2 * (row + 1 + splines.first);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (static_cast<unsigned>(number + j) < count) at[2 * j] = from_float<Half>(splines.values[j]).bits;
    }
  }
}

constexpr int kRowOutputs = kProductThreads / kProductRows;  // between the outputs of a thread

// The weights of an output, of which a thread has every eighth: where the next one's begin, in `to_next` elements.
struct WeightRows {
  const float *base, *spline;
  int64_t to_next;

  __device__ WeightRows(const KanLinearArgs<Half>& a, int64_t output)
      : base(a.base_weight + output * a.in_channels),
        spline(a.spline_weight + output * a.in_channels * a.bases),
        to_next(kRowOutputs * a.in_channels) {}
};

// Outputs that are not there have weights of zero, once and for all.
__device__ __forceinline__ void clear_weights(KanProductTile& tile, int outputs, int thread) {
  for (int output = outputs + thread / kProductRows; output < kProductOutputs; output += kRowOutputs) {
    tile.high[output][thread % kProductRows] = tile.low[output][thread % kProductRows] = 0;
  }
}

// The weights of a row, of every output that the thread has. A row or a second channel that is not there has features
// of zero, and some weight of the same output.
__device__ __forceinline__ void split_weights(KanProductTile& tile, const KanLinearArgs<Half>& a,
                                              const WeightRows& rows, const FeatureRow& from, int outputs, int thread) {
  const int channel = from.channel < a.in_channels ? from.channel : 0;
  const bool of_base = from.feature == 0;
  const int to_next_channel = of_base ? 1 : a.bases;
  const int64_t to_next = rows.to_next * to_next_channel;
  const float* weight =
      of_base ? rows.base + channel : rows.spline + channel * static_cast<int64_t>(a.bases) + (from.feature - 1);
  const float* second = weight + (channel + 1 < a.in_channels ? to_next_channel : 0);
  const int at = thread % kProductRows;
#pragma unroll 4
  for (int output = thread / kProductRows; output < outputs; output += kRowOutputs) {
    const float w0 = *weight, w1 = *second;
    weight += to_next, second += to_next;
    const unsigned high = word_of_halves(w0, w1);
    float rounded[2];
    to_floats(high, rounded);
    tile.high[output][at] = high;
    tile.low[output][at] = word_of_halves(w0 - rounded[0], w1 - rounded[1]);
  }
}

constexpr int kTokenTiles = kWarpTokens / 8, kOutputTiles = kWarpOutputs / 16;

// Adds the products of the tile's rows to a warp's sums.
__device__ __forceinline__ void multiply_tile(float (&sums)[kOutputTiles][kTokenTiles][4], const KanProductTile& tile,
                                              int output, int token, int lane) {
  const int half = lane / 16, quarter = lane / 8 % 2;  // of the four matrices that are loaded at once
  const unsigned (*const features)[kProductPitch] = &tile.features[token + half * 8 + lane % 8];
  const unsigned (*const high)[kProductPitch] = &tile.high[output + quarter * 8 + lane % 8];
  const unsigned (*const low)[kProductPitch] = &tile.low[output + quarter * 8 + lane % 8];
#pragma unroll 2
  for (int k = 0; k < kProductRows; k += kMmaRows) {
    unsigned b[kTokenTiles / 2][4];  // two tiles of tokens, each at k and k + 4
#pragma unroll
    for (int t = 0; t < kTokenTiles / 2; ++t) load_matrices(b[t], &features[16 * t][k + quarter * 4]);
#pragma unroll
    for (int o = 0; o < kOutputTiles; ++o) {
      unsigned a_high[4], a_low[4];
      load_matrices(a_high, &high[16 * o][k + half * 4]);
      load_matrices(a_low, &low[16 * o][k + half * 4]);
#pragma unroll
      for (int t = 0; t < kTokenTiles; ++t) {
        const unsigned of_tokens[2] = {b[t / 2][t % 2 * 2], b[t / 2][t % 2 * 2 + 1]};
        multiply_16_8_16(sums[o][t], a_high, of_tokens);
        multiply_16_8_16(sums[o][t], a_low, of_tokens);
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

  const int features = a.bases + 1, lane = thread % kWarp;
  const int outputs = static_cast<int>(min(a.out_channels - first_output, static_cast<int64_t>(kProductOutputs)));
  const int token_of_lane = warp * kFeatureTokens + lane % kFeatureTokens, second = lane / kFeatureTokens;
  const bool inside = first_token + token_of_lane < a.length;
  const Half* const x = a.x + (batch * a.in_channels + second) * a.length + first_token + token_of_lane;
  uint16_t* const of_token = reinterpret_cast<uint16_t*>(tile.features[token_of_lane]) + second;
  const float knots_per_unit = (a.bases - 3) / (a.grid_max - a.grid_min);
  const WeightRows weights(a, first_output + thread / kProductRows);
  FeatureRow first(0, features), of_thread(thread % kProductRows, features);
  const int pairs = kProductRows / features, more = kProductRows % features;

  clear_weights(tile, outputs, thread);
  float sums[kOutputTiles][kTokenTiles][4] = {};
  for (int first_row = 0; first_row < rows; first_row += kProductRows) {
    clear_features(tile, warp * kFeatureTokens, lane);
    __syncwarp();
    make_features(of_token, a, x + first.channel * a.length, inside, first.channel + second, first.feature,
                  knots_per_unit);
    split_weights(tile, a, weights, of_thread, outputs, thread);
    first.step(pairs, more, features), of_thread.step(pairs, more, features);
    __syncthreads();
    if (!idle) multiply_tile(sums, tile, output, token, lane);
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
