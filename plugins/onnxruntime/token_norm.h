// TokenNorm as ONNX Runtime sees it: a layer norm over the channels of (B, C, L), for the CPU alone.
#pragma once

#include "../scan/contract.h"
#include "ort.h"

namespace msdk::ort {

template <class T>
class TokenNorm {
 public:
  static constexpr const char* kName = "TokenNorm";
  static constexpr size_t kInputs = 3, kOptionalInputs = 0;
  static constexpr bool is_parameter(size_t) { return false; }

  explicit TokenNorm(const OrtKernelInfo* info);
  TokenNormArgs arguments(const Ort::KernelContext& context) const;

 private:
  float epsilon_;
};

}  // namespace msdk::ort
