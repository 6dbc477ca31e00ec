// The msdk ops on ONNX Runtime's CPU provider: their CPU kernels on its thread pool.
#pragma once

#include "cpu/parallel.h"
#include "onnxruntime/ort.h"

namespace msdk::ort {

// ONNX Runtime's own thread pool.
cpu::Parallel pool_of(const Ort::KernelContext& context);

struct Cpu {
  static constexpr const char* kProvider = "CPUExecutionProvider";
  static constexpr bool kMayOverwrite = true;

  static void check() {}

  template <class Op, class Call>
  static void run(const Ort::KernelContext& context, const Call& call) {
    Op::on_cpu(call, pool_of(context));
  }
};

}  // namespace msdk::ort
