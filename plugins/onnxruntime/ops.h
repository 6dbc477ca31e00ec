// The msdk ops as ONNX Runtime sees them: what a node declares, and its tensors and attributes, read, checked and put
// into the arguments of the kernels. The same for every device; T is float or Half.
#pragma once

#include "../scan/contract.h"
#include "ort.h"

namespace msdk::ort {

// `arguments` allocates the output, and throws an Ort::Exception that names expected and actual where a tensor does
// not fit. It looks at no element, so tensors may lie in the memory of a GPU. A parameter is float32 whatever T is.

template <class T>
class DirectionalConv1d {
 public:
  static constexpr const char* kName = "DirectionalConv1d";
  static constexpr size_t kInputs = 3, kOptionalInputs = 0;
  static constexpr bool is_parameter(size_t input) { return input >= 1; }

  explicit DirectionalConv1d(const OrtKernelInfo* info);
  DirectionalConv1dArgs<T> arguments(const Ort::KernelContext& context) const;

 private:
  DirectionList directions_;
};

template <class T>
class BidirectionalSelectiveScan {
 public:
  static constexpr const char* kName = "BidirectionalSelectiveScan";
  static constexpr size_t kInputs = 7, kOptionalInputs = 1;
  static constexpr bool is_parameter(size_t input) { return input >= 2 && input <= 5; }

  explicit BidirectionalSelectiveScan(const OrtKernelInfo* info);
  SelectiveScanArgs<T> arguments(const Ort::KernelContext& context) const;

 private:
  DirectionList directions_;
  float scale_;
};

template <class T>
class KanLinear {
 public:
  static constexpr const char* kName = "KanLinear";
  static constexpr size_t kInputs = 3, kOptionalInputs = 0;
  static constexpr bool is_parameter(size_t input) { return input >= 1; }

  explicit KanLinear(const OrtKernelInfo* info);
  KanLinearArgs<T> arguments(const Ort::KernelContext& context) const;

 private:
  float grid_min_, grid_max_;
};

}  // namespace msdk::ort
