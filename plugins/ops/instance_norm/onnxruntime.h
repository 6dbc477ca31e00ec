// InstanceNorm as ONNX Runtime sees it: ONNX's InstanceNormalization with what follows it, for the CPU alone.
#pragma once

#include "cpu/parallel.h"
#include "onnxruntime/ort.h"
#include "ops/instance_norm/args.h"

namespace msdk::ort {

template <class T>
class InstanceNorm {
 public:
  static constexpr const char* kName = "InstanceNorm";
  static constexpr size_t kInputs = 4, kOptionalInputs = 1;
  static constexpr bool is_parameter(size_t) { return false; }

  explicit InstanceNorm(const OrtKernelInfo* info);
  InstanceNormArgs arguments(const Ort::KernelContext& context) const;
  static void on_cpu(const InstanceNormArgs& args, const cpu::Parallel& parallel);

 private:
  float epsilon_, slope_;
  Activation activation_;
};

}  // namespace msdk::ort
