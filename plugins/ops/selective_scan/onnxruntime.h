// BidirectionalSelectiveScan as ONNX Runtime sees it, on the CPU and on CUDA; T is float or Half.
#pragma once

#include "cpu/parallel.h"
#include "cuda/stream.h"
#include "onnxruntime/ort.h"
#include "ops/selective_scan/args.h"

namespace msdk::ort {

template <class T>
class BidirectionalSelectiveScan {
 public:
  static constexpr const char* kName = "BidirectionalSelectiveScan";
  static constexpr size_t kInputs = 7, kOptionalInputs = 1;
  static constexpr bool is_parameter(size_t input) { return input >= 2 && input <= 5; }

  explicit BidirectionalSelectiveScan(const OrtKernelInfo* info);
  SelectiveScanArgs<T> arguments(const Ort::KernelContext& context) const;
  static void on_cpu(const SelectiveScanArgs<float>& args, const cpu::Parallel& parallel);
  static const char* on_cuda(const SelectiveScanArgs<T>& args, const Ort::KernelContext& context);

 private:
  DirectionList directions_;
  float scale_;
};

}  // namespace msdk::ort
