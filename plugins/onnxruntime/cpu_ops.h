// The msdk ops for ONNX Runtime's CPU provider: each checks its tensors and calls the kernel of scan/cpu.
#pragma once

#include "../scan/contract.h"
#include "ort.h"

namespace msdk::ort {

class DirectionalConv1d {
 public:
  static constexpr const char* kName = "DirectionalConv1d";
  static constexpr size_t kInputs = 3, kOptionalInputs = 0;

  explicit DirectionalConv1d(const OrtKernelInfo* info);
  void compute(const Ort::KernelContext& context) const;

 private:
  DirectionList directions_;
};

class BidirectionalSelectiveScan {
 public:
  static constexpr const char* kName = "BidirectionalSelectiveScan";
  static constexpr size_t kInputs = 7, kOptionalInputs = 1;

  explicit BidirectionalSelectiveScan(const OrtKernelInfo* info);
  void compute(const Ort::KernelContext& context) const;

 private:
  DirectionList directions_;
  float scale_;
};

class KanLinear {
 public:
  static constexpr const char* kName = "KanLinear";
  static constexpr size_t kInputs = 3, kOptionalInputs = 0;

  explicit KanLinear(const OrtKernelInfo* info);
  void compute(const Ort::KernelContext& context) const;

 private:
  float grid_min_, grid_max_;
};

}  // namespace msdk::ort
