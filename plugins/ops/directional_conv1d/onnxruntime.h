// DirectionalConv1d as ONNX Runtime sees it, on the CPU and on CUDA; T is float or Half.
#pragma once

#include "cpu/parallel.h"
#include "cuda/stream.h"
#include "onnxruntime/ort.h"
#include "ops/directional_conv1d/args.h"

namespace msdk::ort {

template <class T>
class DirectionalConv1d {
 public:
  static constexpr const char* kName = "DirectionalConv1d";
  static constexpr size_t kInputs = 3, kOptionalInputs = 0;
  static constexpr bool is_parameter(size_t input) { return input >= 1; }

  explicit DirectionalConv1d(const OrtKernelInfo* info);
  DirectionalConv1dArgs<T> arguments(const Ort::KernelContext& context) const;
  static void on_cpu(const DirectionalConv1dArgs<float>& args, const cpu::Parallel& parallel);
  static const char* on_cuda(const DirectionalConv1dArgs<T>& args, const Ort::KernelContext& context);

 private:
  DirectionList directions_;
};

}  // namespace msdk::ort
