// Conv3d as ONNX Runtime sees it: ONNX's Conv in three dimensions, for the CPU alone. Weights that are constants are
// packed once.
#pragma once

#include <vector>

#include "cpu/parallel.h"
#include "onnxruntime/ort.h"
#include "ops/conv3d/args.h"

namespace msdk::ort {

struct Conv3dCall {
  Conv3dArgs args;
  const float* packed;  // null: args.weight is still to be packed
};

template <class T>
class Conv3d {
 public:
  static constexpr const char* kName = "Conv3d";
  static constexpr size_t kInputs = 3, kOptionalInputs = 1;
  static constexpr bool is_parameter(size_t) { return false; }

  explicit Conv3d(const OrtKernelInfo* info);
  Conv3dCall arguments(const Ort::KernelContext& context) const;
  static void on_cpu(const Conv3dCall& call, const cpu::Parallel& parallel);

 private:
  // Sizes from the attributes and from a weight of this shape.
  Conv3dArgs with_weight(const std::vector<int64_t>& shape, const T* weight) const;

  std::vector<int64_t> strides_, pads_;
  int64_t groups_;
  std::vector<float> packed_;
};

}  // namespace msdk::ort
