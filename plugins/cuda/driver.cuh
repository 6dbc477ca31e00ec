// The comparison of cuda/driver.h, for libraries that do not link the ops' kernels.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>

namespace msdk::cuda {

// Drivers run kernels of their own major version of CUDA and of older ones.
inline const char* problem_of_driver() {
  constexpr int kMajor = 1000, kMinor = 10;  // 12060 is 12.6
  thread_local char sentence[256];
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0 || driver / kMajor >= CUDART_VERSION / kMajor) {
    return nullptr;
  }
  std::snprintf(sentence, sizeof sentence,
                "the NVIDIA driver runs CUDA up to %d.%d, and this msdk library was compiled by CUDA %d.%d: update the "
                "driver, or build msdk_rt with a toolkit of CUDA %d",
                driver / kMajor, driver % kMajor / kMinor, CUDART_VERSION / kMajor, CUDART_VERSION % kMajor / kMinor,
                driver / kMajor);
  return sentence;
}

}  // namespace msdk::cuda
