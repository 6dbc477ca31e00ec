// Makes a custom op of ONNX Runtime from an op and a device.
#pragma once

#include <exception>
#include <type_traits>

#include "onnxruntime/ort.h"

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

// A node of an op on a device, which has `check()`, that throws where no node can run there,
// `run<Op>(const Ort::KernelContext&, arguments)`, and kMayOverwrite: whether kernels there may write over an input.
template <class Op, class Device>
class Node {
 public:
  explicit Node(const OrtKernelInfo* info) : op_(info) {}
  OrtStatusPtr ComputeV2(OrtKernelContext* context) {
    return guarded([&] {
      const Ort::KernelContext kernel(context);
      Device::template run<Op>(kernel, op_.arguments(kernel));
    });
  }

 private:
  const Op op_;
};

// The input, of the output's shape, that an op can write its output over: Op::kOverwrites, or none, -1. ONNX Runtime
// lets it where nothing else reads that input. The lines that are written are in the cache then, and a network takes
// less memory.
template <class Op, class = void>
constexpr int overwrites = -1;
template <class Op>
constexpr int overwrites<Op, std::void_t<decltype(Op::kOverwrites)>> = Op::kOverwrites;

// Whether an input is of doubles: Op::is_moments, or none; and whether an op has a second output, of doubles, which may
// be absent: Op::kGivesMoments.
template <class Op, class = void>
constexpr bool takes_moments = false;
template <class Op>
constexpr bool takes_moments<Op, std::void_t<decltype(Op::is_moments(0))>> = true;
template <class Op, class = void>
constexpr bool gives_moments = false;
template <class Op>
constexpr bool gives_moments<Op, std::void_t<decltype(Op::kGivesMoments)>> = Op::kGivesMoments;

// The op for the device's provider. ONNX Runtime merges the ops of one name into one schema, and picks among them by
// the provider and the types of a node's inputs.
template <class Op, class Device>
struct CustomOp : Ort::CustomOpBase<CustomOp<Op, Device>, Node<Op, Device>, true> {
  static constexpr ONNXTensorElementDataType kType = std::is_same_v<typename Op::Type, float>
                                                         ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
                                                         : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;

  CustomOp() {
    this->version = kApiVersion;
    if constexpr (Device::kMayOverwrite && overwrites<Op> >= 0) {
      this->GetMayInplace = [](int** input, int** output) -> size_t {
        *input = new int{overwrites<Op>};
        *output = new int{0};
        return 1;
      };
      this->ReleaseMayInplace = [](int* input, int* output) {
        delete input;
        delete output;
      };
    }
  }
  const char* GetName() const { return Op::kName; }
  const char* GetExecutionProviderType() const { return Device::kProvider; }
  size_t GetInputTypeCount() const { return Op::kInputs; }
  size_t GetOutputTypeCount() const { return gives_moments<Op> ? 2 : 1; }
  ONNXTensorElementDataType GetInputType(size_t index) const {
    if constexpr (takes_moments<Op>) {
      if (Op::is_moments(index)) return ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE;
    }
    return Op::is_parameter(index) ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT : kType;
  }
  ONNXTensorElementDataType GetOutputType(size_t index) const {
    return index == 0 ? kType : ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE;
  }
  OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(size_t index) const {
    return index + Op::kOptionalInputs < Op::kInputs ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
  }
  OrtCustomOpInputOutputCharacteristic GetOutputCharacteristic(size_t index) const {
    return index == 0 ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
  }
  OrtStatusPtr CreateKernelV2(const OrtApi&, const OrtKernelInfo* info, void** kernel) const {
    return guarded([&] {
      Device::check();
      *kernel = new Node<Op, Device>(info);
    });
  }
};

}  // namespace msdk::ort
