// The contract of the msdk ops, shared by every home of the kernels (CPU, CUDA, TensorRT, ONNX Runtime).
// Plain old data only; no TensorRT, ONNX Runtime or CUDA header is needed to read it.
//
// Tokens of a feature map (D, H, W) are numbered l = (d*H + h)*W + w. Every tensor is dense and row-major with
// the token axis last. K directed scans run over the same tokens; nothing is ever flipped or transposed in memory.
#pragma once

#include <cstdint>

namespace msdk {

constexpr int kOpsVersion = 1;
constexpr int kMaxDirections = 8;
constexpr int kMaxStates = 64;
constexpr int kMaxConvWidth = 16;
constexpr int kMaxSplineBases = 64;

// One reading order of the tokens. With M = L / slices, step t = j*slices + s visits token s*M + j; `backward`
// reads the same order from its end. `forward` and `backward` are slices = 1.
struct Direction {
  int64_t slices = 1;
  bool backward = false;
};

struct DirectionList {
  int count = 0;
  Direction items[kMaxDirections];
};

// u[b,k,d,p_k(t)] = SiLU(bias[k,d] + sum_j weight[k,d,j] * x[b,d,p_k(t - width + 1 + j)]), zero before the start.
template <class T>
struct DirectionalConv1dArgs {
  int64_t batch, channels, length;
  int width;
  DirectionList directions;
  const T* x;           // (batch, channels, length)
  const float* weight;  // (K, channels, width)
  const float* bias;    // (K, channels)
  T* u;                 // (batch, K, channels, length)
};

// delta = softplus(dt_weight @ dt + dt_bias)
// h_t   = exp(delta_t * A) * h_{t-1} + delta_t * B_t * u_t, h_{-1} = 0, float32
// y     = scale * SiLU(z) * sum_k (C_t . h_t + D_skip * u_t)
template <class T>
struct SelectiveScanArgs {
  int64_t batch, channels, length;
  int states, dt_rank;
  DirectionList directions;
  float scale;
  const T* u;              // (batch, K, channels, length)
  const T* x_dbl;          // (batch, K, dt_rank + 2*states, length): rows dt, B, C
  const float* dt_weight;  // (K, channels, dt_rank)
  const float* dt_bias;    // (K, channels)
  const float* A;          // (K, channels, states)
  const float* D_skip;     // (K, channels)
  const T* z;              // (batch, channels, length), or null: no gate
  T* y;                    // (batch, channels, length)
};

// y[b,o,l] = sum_c base_weight[o,c] * SiLU(x[b,c,l]) + sum_{c,g} spline_weight[o,c,g] * B_g(x[b,c,l])
// B_g: cubic B-splines on the knots grid_min + (i - 3)*h, h = (grid_max - grid_min)/(bases - 3); zero outside.
template <class T>
struct KanLinearArgs {
  int64_t batch, in_channels, out_channels, length;
  int bases;
  float grid_min, grid_max;
  const T* x;                  // (batch, in_channels, length)
  const float* base_weight;    // (out_channels, in_channels)
  const float* spline_weight;  // (out_channels, in_channels, bases)
  T* y;                        // (batch, out_channels, length)
};

// y[b,c,l] = (x[b,c,l] - mean) / sqrt(variance + epsilon) * weight[c] + bias[c], mean and variance over the channels of
// a token: a layer norm whose channels are not last.
struct TokenNormArgs {
  int64_t batch, channels, length;
  float epsilon;
  const float* x;       // (batch, channels, length)
  const float* weight;  // (channels)
  const float* bias;    // (channels)
  float* y;             // (batch, channels, length)
};

// ONNX's Conv in three dimensions without dilation: with p and j the coordinates of a voxel and of a tap,
// y[b,o,p] = bias[o] + sum_{c,j} weight[o,c,j] * x[b,c,p*stride - before + j], x zero outside; c: the in_channels /
// groups input channels of o's group. Sides are depth, height, width; out = (in + before + after - kernel) / stride
// + 1.
struct Conv3dArgs {
  int64_t batch, in_channels, out_channels, groups;
  int64_t in[3], out[3], kernel[3], stride[3], before[3], after[3];
  const float* x;       // (batch, in_channels, *in)
  const float* weight;  // (out_channels, in_channels / groups, *kernel)
  const float* bias;    // (out_channels), or null: zero
  float* y;             // (batch, out_channels, *out)
};

// Every side doubled, trilinear, half-pixel centres: along each axis y[2i] = x[i-1]/4 + 3x[i]/4 and y[2i+1] = 3x[i]/4 +
// x[i+1]/4, with x[-1] = x[0] and x[n] = x[n-1]; then y += addend.
struct TrilinearUpsampleArgs {
  int64_t batch, channels, in[3];  // depth, height, width
  const float* x;                  // (batch, channels, *in)
  const float* addend;             // (batch, channels, *2in), or null: zero
  float* y;                        // (batch, channels, *2in)
};

}  // namespace msdk
