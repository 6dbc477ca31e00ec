// One thread an element: the launch of every kernel here.
#pragma once

#include <cstdint>

#include "cuda/launch.cuh"
#include "cuda/sizes.h"

namespace msdk::volume {

constexpr int kThreads = 256;

// The element of this thread; beyond the last one where it has none.
__device__ inline int64_t element() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

template <class... Params, class... Args>
const char* launch_elements(int64_t elements, void* stream, void (*kernel)(Params...), Args... args) {
  if (elements == 0) return nullptr;
  const int64_t blocks = cuda::divide_up(elements, kThreads);
  if (elements < 0 || blocks > INT32_MAX)
    return "a volume of negative size, or of more than 2^31 blocks of 256 elements";
  return cuda::launch(kernel, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, static_cast<cudaStream_t>(stream),
                      args...);
}

}  // namespace msdk::volume
