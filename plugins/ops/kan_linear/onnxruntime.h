// KanLinear as ONNX Runtime sees it, on the CPU and on CUDA; T is float or Half.
#pragma once

#include "cpu/parallel.h"
#include "cuda/stream.h"
#include "onnxruntime/ort.h"
#include "ops/kan_linear/args.h"

namespace msdk::ort {

template <class T>
class KanLinear {
 public:
  static constexpr const char* kName = "KanLinear";
  static constexpr size_t kInputs = 3, kOptionalInputs = 0;
  static constexpr bool is_parameter(size_t input) { return input >= 1; }

  explicit KanLinear(const OrtKernelInfo* info);
  KanLinearArgs<T> arguments(const Ort::KernelContext& context) const;
  static void on_cpu(const KanLinearArgs<float>& args, const cpu::Parallel& parallel);
  static const char* on_cuda(const KanLinearArgs<T>& args, const Ort::KernelContext& context);

 private:
  float grid_min_, grid_max_;
};

}  // namespace msdk::ort
