// TokenNorm as ONNX Runtime sees it: a layer norm over the channels of (B, C, L), for the CPU alone.
#pragma once

#include "cpu/parallel.h"
#include "onnxruntime/ort.h"
#include "ops/token_norm/args.h"

namespace msdk::ort {

template <class T>
class TokenNorm {
 public:
  static constexpr const char* kName = "TokenNorm";
  static constexpr size_t kInputs = 3, kOptionalInputs = 0;
  static constexpr bool is_parameter(size_t) { return false; }

  explicit TokenNorm(const OrtKernelInfo* info);
  TokenNormArgs arguments(const Ort::KernelContext& context) const;
  static void on_cpu(const TokenNormArgs& args, const cpu::Parallel& parallel);

 private:
  float epsilon_;
};

}  // namespace msdk::ort
