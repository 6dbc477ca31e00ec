// ONNX Runtime's C++ API, bound at run time to the runtime that loads this library.
#pragma once

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

namespace msdk::ort {

// The oldest ONNX Runtime API with all that is called here: 18 brought KernelContext_GetScratchBuffer.
constexpr uint32_t kApiVersion = 18;

}  // namespace msdk::ort
