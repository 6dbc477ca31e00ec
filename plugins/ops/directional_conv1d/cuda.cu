// The directional causal convolutions of all directions from one reading of x.
//
// Four taps, directions without slices and rows that loads of 16 bytes can read have the kernel of cuda_neighbours.cuh.
// In the kernel of everything else a block is a tile of tokens of one channel, in shared memory with what the width
// reaches beyond either end; every direction that goes through the tokens in order is computed from it. In a direction
// with slices, tap i of a token lies in the slice i before (or after) at the same place: also contiguous, and read
// where it lies.
//
// Memory bound. Its floor at L = 262144, D = 96, K = 2, W = 4, float16: x 50 MB read, u 101 MB written, 0.045 ms on
// H100 at 3.35 TB/s, 0.74 ms on Orin at 205 GB/s; 50 M SiLU with two special functions each are 0.028 ms and 0.30 ms.
// Both read 2 (W - 1) tokens of a block's 1024 (2048 of float16) twice and nothing else from memory; each direction
// with slices reads x W times, of which the caches give most.
#include "ops/directional_conv1d/cuda.h"

#include <algorithm>

#include "cuda/math.cuh"
#include "ops/directional_conv1d/cuda_neighbours.cuh"

namespace msdk::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTokens = 1024;  // of a tile

struct ConvTile {
  float x[kTokens + 2 * (kMaxConvWidth - 1)];
  float weight[kMaxDirections][kMaxConvWidth];
};

// The sum over the taps of one token in a direction with slices.
template <class T>
__device__ __forceinline__ float sliced_sum(const T* x, const float* weight, int width, const Direction& direction,
                                            int64_t length, int64_t token) {
  const int64_t tokens_per_slice = length / direction.slices;
  int64_t slice = token / tokens_per_slice, place = token % tokens_per_slice;
  float sum = 0.0f;
  for (int tap = 0; tap < width; ++tap) {
    sum += weight[width - 1 - tap] * to_float(x[slice * tokens_per_slice + place]);
    if (direction.backward) {
      if (++slice == direction.slices) slice = 0, ++place;
      if (place == tokens_per_slice) break;
    } else {
      if (--slice < 0) slice = direction.slices - 1, --place;
      if (place < 0) break;
    }
  }
  return sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads, 4) conv_kernel(const DirectionalConv1dArgs<T> a, const int64_t tiles) {
  MSDK_SHARED(ConvTile, tile);
  const int64_t first = blockIdx.x % tiles * kTokens, row = blockIdx.x / tiles;  // of batch and channel
  const int64_t batch = row / a.channels, channel = row % a.channels;
  const int thread = static_cast<int>(threadIdx.x), halo = a.width - 1, scans = a.directions.count;
  const T* x = a.x + row * a.length;
  for (int i = thread; i < kTokens + 2 * halo; i += kThreads) {
    const int64_t token = first - halo + i;
    tile.x[i] = token >= 0 && token < a.length ? to_float(x[token]) : 0.0f;
  }
  for (int i = thread; i < scans * a.width; i += kThreads) {
    const int scan = i / a.width, j = i % a.width;
    tile.weight[scan][j] = a.weight[(scan * a.channels + channel) * a.width + j];
  }
  __syncthreads();
  for (int scan = 0; scan < scans; ++scan) {
    const Direction& direction = a.directions.items[scan];
    const float bias = a.bias[scan * a.channels + channel];
    const float* weight = tile.weight[scan];
    T* u = a.u + ((batch * scans + scan) * a.channels + channel) * a.length;
#pragma unroll
    for (int i = thread; i < kTokens; i += kThreads) {
      const int64_t token = first + i;
      if (token >= a.length) break;
      float sum = bias;
      if (direction.slices == 1) {
        const int towards = direction.backward ? 1 : -1;
        for (int tap = 0; tap < a.width; ++tap) sum += weight[halo - tap] * tile.x[halo + i + towards * tap];
      } else {
        sum += sliced_sum(x, weight, a.width, direction, a.length, token);
      }
      u[token] = from_float<T>(silu(sum));
    }
  }
}

// Whether cuda_neighbours.cuh serves these arguments.
template <class T>
bool of_neighbours(const DirectionalConv1dArgs<T>& a) {
  const auto aligned = [](const T* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  return a.width == kTaps && a.length % kInSixteen<T> == 0 && aligned(a.x) && aligned(a.u) &&
         std::all_of(a.directions.items, a.directions.items + a.directions.count,
                     [](const Direction& direction) { return direction.slices == 1; });
}

template <class T>
const char* launch_of_neighbours(const DirectionalConv1dArgs<T>& a, Stream stream) {
  const int64_t tiles = divide_up(a.length, kNeighbourThreads * kInSixteen<T>);
  const dim3 grid(static_cast<unsigned>(product({a.batch, a.channels, tiles})));
  return launch(conv_of_neighbours<T>, grid, dim3(kNeighbourThreads), 0, stream, a, static_cast<unsigned>(tiles));
}

}  // namespace

template <class T>
const char* directional_conv1d(const DirectionalConv1dArgs<T>& args, Stream stream) {
  const int64_t tiles = divide_up(args.length, kTokens), blocks = product({args.batch, args.channels, tiles});
  if (blocks == 0) return nullptr;
  if (args.width < 1 || args.width > kMaxConvWidth) return "directional_conv1d: the width must be 1 to 16";
  if (blocks <= INT32_MAX && of_neighbours(args)) return launch_of_neighbours(args, stream);
  if (blocks > INT32_MAX) return "directional_conv1d: too many tokens and channels for one launch; split the batch";
  return launch(conv_kernel<T>, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream, args, tiles);
}

template const char* directional_conv1d(const DirectionalConv1dArgs<float>&, Stream);
template const char* directional_conv1d(const DirectionalConv1dArgs<Half>&, Stream);

}  // namespace msdk::cuda
