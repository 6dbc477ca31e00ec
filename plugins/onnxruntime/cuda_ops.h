// The msdk ops on ONNX Runtime's CUDA provider: the kernels of scan/cuda on the provider's own stream.
#pragma once

#include "../scan/contract.h"
#include "../scan/cuda/ops.h"
#include "checks.h"
#include "ort.h"

namespace msdk::ort {

// T is float or Half. Tensors lie in device memory, so that A is not checked for values above 0.
struct Cuda {
  static constexpr const char* kProvider = "CUDAExecutionProvider";

  template <class T>
  static void run(const Ort::KernelContext& context, const DirectionalConv1dArgs<T>& args);
  template <class T>
  static void run(const Ort::KernelContext& context, const SelectiveScanArgs<T>& args);
  template <class T>
  static void run(const Ort::KernelContext& context, const KanLinearArgs<T>& args);
};

// Stands in for Cuda in a library built without it, for float16 alone: ONNX Runtime must know of an op of that type to
// give the CPU a float16 graph, with casts around the float32 op.
struct CudaNotBuilt {
  static constexpr const char* kProvider = Cuda::kProvider;

  template <class Args>
  static void run(const Ort::KernelContext&, const Args&) {
    fail("this msdk library was built without CUDA: rebuild it where nvcc is, or open the session with the CPU alone");
  }
};

}  // namespace msdk::ort
