// Lets nvcc compile a kernel's source for a GPU, and a C++ compiler compile it for tests/cuda_emulator:
// a launch without <<<>>>, and shared memory without __shared__. A block may use 48 KiB of shared memory.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#ifndef MSDK_CUDA_EMULATOR
// A variable in shared memory, and what follows it in the launch's shared_bytes.
#define MSDK_SHARED(Type, name) __shared__ Type name
#define MSDK_DYNAMIC_SHARED(Type, name)                                 \
  extern __shared__ __align__(128) unsigned char msdk_dynamic_shared[]; \
  Type* name = reinterpret_cast<Type*>(msdk_dynamic_shared)
#endif

namespace msdk::cuda {

constexpr size_t kMostParameterBytes = 4096;  // of a kernel on every GPU and driver

// Asks for as much of an SM's memory as can be for shared memory, and the least for its cache: for a kernel whose
// shared memory says how many blocks an SM takes. Null, or a sentence.
template <class... Params>
const char* prefer_shared_memory([[maybe_unused]] void (*kernel)(Params...)) {
#ifdef MSDK_CUDA_EMULATOR
  return nullptr;
#else
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
#endif
}

// Enqueues a kernel. Null, or a sentence that says what the launch was refused for.
template <class... Params, class... Args>
const char* launch(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   Args... args) {
  static_assert((sizeof(Params) + ... + 0) <= kMostParameterBytes, "a kernel's parameters are 4096 bytes at most");
#ifdef MSDK_CUDA_EMULATOR
  static_cast<void>(stream);
  return ::cuda_emulator::launch(grid, block, shared_bytes, [&] { kernel(static_cast<Params>(args)...); });
#else
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  if (cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...) == cudaSuccess) return nullptr;
  return cudaGetErrorString(cudaGetLastError());
#endif
}

}  // namespace msdk::cuda
