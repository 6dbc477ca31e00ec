// The part of an ONNX Runtime custom op that is the same for every msdk op.
#pragma once

#include <exception>

#include "ort.h"

namespace msdk::ort {

// Runs f and turns what it throws into a status: no exception may cross into ONNX Runtime.
template <class F>
OrtStatusPtr guarded(F&& f) noexcept {
  try {
    f();
    return nullptr;
  } catch (const Ort::Exception& error) {
    return Ort::GetApi().CreateStatus(error.GetOrtErrorCode(), error.what());
  } catch (const std::exception& error) {
    return Ort::GetApi().CreateStatus(ORT_FAIL, error.what());
  }
}

// A node: Impl is built from the node's attributes and has `void compute(const Ort::KernelContext&) const`.
template <class Impl>
class Node {
 public:
  explicit Node(const OrtKernelInfo* info) : impl_(info) {}
  OrtStatusPtr ComputeV2(OrtKernelContext* context) {
    return guarded([&] { impl_.compute(Ort::KernelContext(context)); });
  }

 private:
  const Impl impl_;
};

// A float32 op of the CPU provider. Impl names it: kName, kInputs, kOptionalInputs (the last ones).
template <class Impl>
struct CpuOp : Ort::CustomOpBase<CpuOp<Impl>, Node<Impl>, true> {
  CpuOp() { this->version = kApiVersion; }
  const char* GetName() const { return Impl::kName; }
  const char* GetExecutionProviderType() const { return "CPUExecutionProvider"; }
  size_t GetInputTypeCount() const { return Impl::kInputs; }
  size_t GetOutputTypeCount() const { return 1; }
  ONNXTensorElementDataType GetInputType(size_t) const { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
  ONNXTensorElementDataType GetOutputType(size_t) const { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
  OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(size_t index) const {
    return index + Impl::kOptionalInputs < Impl::kInputs ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
  }
  OrtStatusPtr CreateKernelV2(const OrtApi&, const OrtKernelInfo* info, void** kernel) const {
    return guarded([&] { *kernel = new Node<Impl>(info); });
  }
};

}  // namespace msdk::ort
