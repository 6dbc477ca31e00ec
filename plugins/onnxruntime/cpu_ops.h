// The msdk ops on ONNX Runtime's CPU provider: the kernels of scan/cpu on its thread pool.
#pragma once

#include "../scan/contract.h"
#include "conv3d.h"
#include "ort.h"
#include "upsample.h"

namespace msdk::ort {

struct Cpu {
  static constexpr const char* kProvider = "CPUExecutionProvider";

  static void run(const Ort::KernelContext& context, const DirectionalConv1dArgs<float>& args);
  static void run(const Ort::KernelContext& context, const SelectiveScanArgs<float>& args);
  static void run(const Ort::KernelContext& context, const KanLinearArgs<float>& args);
  static void run(const Ort::KernelContext& context, const Conv3dCall& call);
  static void run(const Ort::KernelContext& context, const TokenNormArgs& args);
  static void run(const Ort::KernelContext& context, const TrilinearUpsampleArgs& args);
};

}  // namespace msdk::ort
