#include "kernels.h"

#include "cuda/sixteen.cuh"
#include "cuda/tensor_cores.cuh"

namespace kernels {
namespace {

using msdk::cuda::launch;

struct Partial {
  float values[32];
};

__global__ void block_sums_kernel(const float* x, float* sums) {
  MSDK_SHARED(Partial, partial);
  float value = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(0xffffffffu, value, offset);
  if (threadIdx.x % 32 == 0) partial.values[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0;
    for (unsigned i = 0; i < blockDim.x / 32; ++i) sum += partial.values[i];
    sums[blockIdx.x] = sum;
  }
}

__global__ void warp_prefix_kernel(const int* x, int* prefix) {
  const int lane = static_cast<int>(threadIdx.x);
  const unsigned mask = __ballot_sync(blockDim.x == 32 ? 0xffffffffu : (1u << blockDim.x) - 1, 1);
  int value = x[lane];
  for (int offset = 1; offset < 32; offset *= 2) {
    const int other = __shfl_up_sync(mask, value, offset);
    if (lane >= offset) value += other;
  }
  prefix[lane] = value;
}

// Blocks take a ticket, then wait for the prefix of the ticket before.
__global__ void look_back_kernel(const int* values, int* prefix, int* flags, int* ticket, Fences fences) {
  MSDK_SHARED(int, mine);
  if (threadIdx.x == 0) mine = atomicAdd(ticket, 1);
  __syncthreads();
  if (threadIdx.x != 0) return;
  int before = 0;
  if (mine > 0) {
    while (atomicAdd(&flags[mine - 1], 0) == 0) __nanosleep(20);
    if (fences.of_readers) __threadfence();
    before = prefix[mine - 1];
  }
  prefix[mine] = before + values[mine];
  if (fences.of_writers) __threadfence();
  atomicExch(&flags[mine], 1);
}

__global__ void small_product_kernel(const float* a, const float* b, float* sums, bool faulty) {
  const int i = static_cast<int>(threadIdx.x) / 4, j = static_cast<int>(threadIdx.x) % 4;
  unsigned a_words[4], b_words[2];
  for (int word = 0; word < 4; ++word) {
    const int row = (i + (word % 2 == (faulty ? 0 : 1) ? 8 : 0)), k = 2 * j + word / 2 * 8;
    a_words[word] = msdk::cuda::two_halves(a[16 * row + k], a[16 * row + k + 1]);
  }
  for (int word = 0; word < 2; ++word) {
    const int k = 2 * j + word * 8;
    b_words[word] = msdk::cuda::two_halves(b[8 * k + i], b[8 * (k + 1) + i]);
  }
  float mine[4] = {1.0f, 2.0f, 3.0f, 4.0f};
  msdk::cuda::multiply_16_8_16(mine, a_words, b_words);
  for (int sum = 0; sum < 4; ++sum) {
    sums[8 * (i + sum / 2 * 8) + 2 * j + sum % 2] = mine[sum] - static_cast<float>(sum + 1);
  }
}

// Threads that have ended do not hold up a barrier.
__global__ void early_exit_kernel(int* out) {
  const int i = static_cast<int>(threadIdx.x);
  if (i % 3 == 0) return;
  __syncthreads();
  out[i] = i;
}

__global__ void dynamic_reverse_kernel(int* values, int count) {
  MSDK_DYNAMIC_SHARED(int, copy);
  const int i = static_cast<int>(threadIdx.x);
  copy[i] = values[i];
  __syncthreads();
  values[i] = copy[count - 1 - i];
}

__global__ void thread_numbers_kernel(int* out) {
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[block * 30 + thread] = static_cast<int>(block * 30 + thread);
}

__global__ void divergent_barrier_kernel() {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __shfl_xor_sync(0xffffffffu, 1, 1);
  }
}

__global__ void two_barriers_kernel() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void shuffle_from_an_exited_lane_kernel() {
  if (threadIdx.x == 31) return;
  __shfl_down_sync(0xffffffffu, 1, 1);
}

__global__ void shared_overflow_kernel() {
  MSDK_SHARED(Partial, partial);
  float* first = partial.values;
  first[threadIdx.x] = 0;
}

__global__ void reads_unwritten_shared_kernel(float* out) {
  MSDK_SHARED(Partial, partial);
  out[threadIdx.x] = partial.values[threadIdx.x];
}

// Takes the special-function unit's results for exact.
__global__ void powers_of_two_kernel(int* out) {
  const int i = static_cast<int>(threadIdx.x);
  out[i] = static_cast<int>(msdk::cuda::exp2_approx(static_cast<float>(i)));
}

// The block that takes the last ticket adds what all have left, as in a sum of two levels.
__global__ void last_block_kernel(int* parts, int* ticket, int* sum, bool fenced) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  parts[i] = static_cast<int>(i);
  __syncthreads();
  if (threadIdx.x != 0) return;
  if (fenced) __threadfence();
  if (atomicAdd(ticket, 1) + 1 < static_cast<int>(gridDim.x)) return;
  if (fenced) __threadfence();
  *sum = 0;
  for (unsigned part = 0; part < gridDim.x * blockDim.x; ++part) *sum += parts[part];
}

// Every thread hands its number on to the next lane, by a shuffle that orders nothing.
__global__ void hand_on_kernel(int* out, bool synchronized) {
  MSDK_DYNAMIC_SHARED(int, numbers);
  const unsigned i = threadIdx.x;
  numbers[i] = static_cast<int>(i);
  __shfl_sync(0xffffffffu, 0, 0);
  if (synchronized) __syncwarp();
  out[i] = numbers[(i + 1) % blockDim.x];
}

__global__ void write_together_kernel(int* out, unsigned apart) { out[blockIdx.x * apart] = 1; }

// Forgets the first of its sums.
__global__ void forgotten_local_kernel(const float* x, float* sums, int count) {
  float sum[2];
  for (int i = 1; i < count; ++i) sum[i] = 0;
  for (int i = 0; i < count; ++i) sums[i] = sum[i] + x[i];
}

struct Numbers {
  int values[64];
};

__global__ void missing_barrier_kernel(int* out) {
  MSDK_SHARED(Numbers, numbers);
  const unsigned i = threadIdx.x;
  numbers.values[i] = static_cast<int>(i);
  out[i] = numbers.values[63 - i];
}

__global__ void endless_spin_kernel(int* flag) {
  while (atomicAdd(flag, 0) == 0) {
  }
}

}  // namespace

void small_product(const float* a, const float* b, float* sums, bool faulty) {
  launch(small_product_kernel, dim3(1), dim3(32), 0, nullptr, a, b, sums, faulty);
}
void block_sums(const float* x, float* sums, int blocks, int threads) {
  launch(block_sums_kernel, dim3(blocks), dim3(threads), 0, nullptr, x, sums);
}
void warp_prefix(const int* x, int* prefix, int lanes) {
  launch(warp_prefix_kernel, dim3(1), dim3(lanes), 0, nullptr, x, prefix);
}
void look_back(const int* values, int* prefix, int* flags, int* ticket, int blocks, Fences fences) {
  launch(look_back_kernel, dim3(blocks), dim3(64), 0, nullptr, values, prefix, flags, ticket, fences);
}
void last_block(int* parts, int* ticket, int* sum, int blocks, bool fenced) {
  launch(last_block_kernel, dim3(blocks), dim3(32), 0, nullptr, parts, ticket, sum, fenced);
}
void hand_on(int* out, bool synchronized) {
  launch(hand_on_kernel, dim3(1), dim3(32), 32 * sizeof(int), nullptr, out, synchronized);
}
void write_together(int* out, unsigned apart) {
  launch(write_together_kernel, dim3(2), dim3(1), 0, nullptr, out, apart);
}
void forgotten_local(const float* x, float* sums, int count) {
  launch(forgotten_local_kernel, dim3(1), dim3(1), 0, nullptr, x, sums, count);
}
void early_exit(int* out, int threads) { launch(early_exit_kernel, dim3(1), dim3(threads), 0, nullptr, out); }
void dynamic_reverse(int* values, int count) {
  launch(dynamic_reverse_kernel, dim3(1), dim3(count), sizeof(int) * count, nullptr, values, count);
}
void thread_numbers(int* out) { launch(thread_numbers_kernel, dim3(2, 3, 2), dim3(5, 3, 2), 0, nullptr, out); }

void divergent_barrier() { launch(divergent_barrier_kernel, dim3(1), dim3(32), 0, nullptr); }
void two_barriers() { launch(two_barriers_kernel, dim3(1), dim3(32), 0, nullptr); }
void shuffle_from_an_exited_lane() { launch(shuffle_from_an_exited_lane_kernel, dim3(1), dim3(32), 0, nullptr); }
void shared_overflow() { launch(shared_overflow_kernel, dim3(1), dim3(33), 0, nullptr); }
void reads_unwritten_shared(float* out) { launch(reads_unwritten_shared_kernel, dim3(1), dim3(32), 0, nullptr, out); }
void powers_of_two(int* out) { launch(powers_of_two_kernel, dim3(1), dim3(16), 0, nullptr, out); }
void missing_barrier(int* out) { launch(missing_barrier_kernel, dim3(1), dim3(64), 0, nullptr, out); }
void endless_spin(int* flag) { launch(endless_spin_kernel, dim3(1), dim3(1), 0, nullptr, flag); }

}  // namespace kernels
