// TrilinearUpsample as ONNX Runtime sees it: ONNX's Resize to twice every side, and an Add, for the CPU alone.
#pragma once

#include "cpu/parallel.h"
#include "onnxruntime/ort.h"
#include "ops/trilinear_upsample/args.h"

namespace msdk::ort {

template <class T>
class TrilinearUpsample {
 public:
  static constexpr const char* kName = "TrilinearUpsample";
  static constexpr size_t kInputs = 2, kOptionalInputs = 1;
  static constexpr bool is_parameter(size_t) { return false; }

  explicit TrilinearUpsample(const OrtKernelInfo*) {}
  TrilinearUpsampleArgs arguments(const Ort::KernelContext& context) const;
  static void on_cpu(const TrilinearUpsampleArgs& args, const cpu::Parallel& parallel);
};

}  // namespace msdk::ort
