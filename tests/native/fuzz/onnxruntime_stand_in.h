// Stands in for ONNX Runtime beside a custom op: attributes, tensors that are heap blocks of exactly their size, a pool
// of one thread. Only the functions that the adaptor calls; any other is a null pointer.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "onnxruntime/ort.h"

struct OrtStatus {
  OrtErrorCode code;
  std::string message;
};
struct OrtKernelInfo {
  std::map<std::string, float> numbers;
  std::map<std::string, std::string> texts;
  std::map<std::string, std::vector<int64_t>> lists;
  std::map<std::string, int64_t> integers;
};
struct OrtTensorTypeAndShapeInfo {
  std::vector<int64_t> shape;
};
struct OrtValue {
  std::vector<int64_t> shape;
  std::unique_ptr<char[]> data;

  int64_t elements() const {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    return count;
  }
};
struct OrtKernelContext {
  std::vector<std::unique_ptr<OrtValue>> inputs;  // null: an input that the node does not have
  size_t output_bytes;                            // of an element
  OrtValue output;
  bool has_moments = false;  // a second output, of doubles
  OrtValue moments = {};
};
struct OrtCustomOpDomain {
  std::vector<const OrtCustomOp*> ops;
};

extern "C" OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* api_base);

namespace stand_in {

// Poisoned: of NaN in float32 and in float16.
inline void allocate(OrtValue& tensor, size_t element_bytes) {
  const size_t bytes = static_cast<size_t>(tensor.elements()) * element_bytes;
  tensor.data.reset(new char[bytes]);
  std::memset(tensor.data.get(), 0xff, bytes);
}

inline OrtStatus* missing(const char* name) { return new OrtStatus{ORT_FAIL, std::string("no attribute ") + name}; }

inline std::vector<const OrtCustomOp*> registered;

inline OrtApi api() {
  OrtApi api{};
  api.CreateStatus = [](OrtErrorCode code, const char* message) noexcept { return new OrtStatus{code, message}; };
  api.GetErrorCode = [](const OrtStatus* status) noexcept { return status->code; };
  api.GetErrorMessage = [](const OrtStatus* status) noexcept { return status->message.c_str(); };
  api.ReleaseStatus = [](OrtStatus* status) { delete status; };

  api.CreateCustomOpDomain = [](const char*, OrtCustomOpDomain** out) noexcept {
    static OrtCustomOpDomain domain;
    *out = &domain;
    return OrtStatusPtr{};
  };
  api.ReleaseCustomOpDomain = [](OrtCustomOpDomain*) {};
  api.CustomOpDomain_Add = [](OrtCustomOpDomain* domain, const OrtCustomOp* op) noexcept {
    domain->ops.push_back(op);
    return OrtStatusPtr{};
  };
  api.AddCustomOpDomain = [](OrtSessionOptions*, OrtCustomOpDomain* domain) noexcept {
    registered = domain->ops;
    return OrtStatusPtr{};
  };

  api.HasSessionConfigEntry = [](const OrtSessionOptions*, const char* entry, int* out) noexcept {
    *out = std::strcmp(entry, "msdk.cpu_ops") == 0;
    return OrtStatusPtr{};
  };
  api.GetSessionConfigEntry = [](const OrtSessionOptions*, const char*, char* value, size_t*) noexcept {
    std::strcpy(value, "1");
    return OrtStatusPtr{};
  };

  api.KernelInfoGetConstantInput_tensor = [](const OrtKernelInfo*, size_t, int* constant, const OrtValue**) noexcept {
    *constant = 0;
    return OrtStatusPtr{};
  };
  api.KernelInfoGetAttribute_int64 = [](const OrtKernelInfo* info, const char* name, int64_t* out) noexcept {
    const auto found = info->integers.find(name);
    if (found == info->integers.end()) return missing(name);
    *out = found->second;
    return OrtStatusPtr{};
  };
  api.KernelInfoGetAttributeArray_int64 = [](const OrtKernelInfo* info, const char* name, int64_t* out,
                                             size_t* size) noexcept {
    const auto found = info->lists.find(name);
    if (found == info->lists.end()) return missing(name);
    if (out) std::copy(found->second.begin(), found->second.end(), out);
    *size = found->second.size();
    return OrtStatusPtr{};
  };
  api.KernelInfoGetAttribute_float = [](const OrtKernelInfo* info, const char* name, float* out) noexcept {
    const auto found = info->numbers.find(name);
    if (found == info->numbers.end()) return missing(name);
    *out = found->second;
    return OrtStatusPtr{};
  };
  api.KernelInfoGetAttribute_string = [](const OrtKernelInfo* info, const char* name, char* out,
                                         size_t* size) noexcept {
    const auto found = info->texts.find(name);
    if (found == info->texts.end()) return missing(name);
    const size_t with_end = found->second.size() + 1;
    if (out && *size < with_end) return new OrtStatus{ORT_INVALID_ARGUMENT, "the buffer is too small"};
    if (out) std::memcpy(out, found->second.c_str(), with_end);
    *size = with_end;
    return OrtStatusPtr{};
  };

  api.KernelContext_GetInputCount = [](const OrtKernelContext* context, size_t* out) noexcept {
    *out = context->inputs.size();
    return OrtStatusPtr{};
  };
  api.KernelContext_GetInput = [](const OrtKernelContext* context, size_t index, const OrtValue** out) noexcept {
    *out = index < context->inputs.size() ? context->inputs[index].get() : nullptr;
    return OrtStatusPtr{};
  };
  api.KernelContext_GetOutputCount = [](const OrtKernelContext* context, size_t* out) noexcept {
    *out = context->has_moments ? 2 : 1;
    return OrtStatusPtr{};
  };
  api.KernelContext_GetOutput = [](OrtKernelContext* context, size_t index, const int64_t* sizes, size_t count,
                                   OrtValue** out) noexcept {
    OrtValue& output = index == 0 ? context->output : context->moments;
    output.shape.assign(sizes, sizes + count);
    allocate(output, index == 0 ? context->output_bytes : sizeof(double));
    *out = &output;
    return OrtStatusPtr{};
  };
  api.KernelContext_ParallelFor = [](const OrtKernelContext*, void (*body)(void*, size_t), size_t total, size_t,
                                     void* data) noexcept {
    for (size_t index = 0; index < total; ++index) body(data, index);
    return OrtStatusPtr{};
  };
  api.KernelContext_GetGPUComputeStream = [](const OrtKernelContext*, void** out) noexcept {
    *out = nullptr;
    return OrtStatusPtr{};
  };
  api.KernelContext_GetAllocator = [](const OrtKernelContext*, const OrtMemoryInfo*, OrtAllocator** out) noexcept {
    static OrtAllocator allocator{};
    *out = &allocator;
    return OrtStatusPtr{};
  };
  api.KernelContext_GetScratchBuffer = [](const OrtKernelContext*, const OrtMemoryInfo*, size_t bytes,
                                          void** out) noexcept {
    if (posix_memalign(out, 256, bytes) != 0) return new OrtStatus{ORT_FAIL, "out of memory"};
    std::memset(*out, 0xff, bytes);
    return OrtStatusPtr{};
  };
  api.AllocatorFree = [](OrtAllocator*, void* memory) noexcept {
    std::free(memory);
    return OrtStatusPtr{};
  };
  api.ReleaseAllocator = [](OrtAllocator*) {};

  api.GetTensorMutableData = [](OrtValue* value, void** out) noexcept {
    *out = value->data.get();
    return OrtStatusPtr{};
  };
  api.GetTensorTypeAndShape = [](const OrtValue* value, OrtTensorTypeAndShapeInfo** out) noexcept {
    *out = new OrtTensorTypeAndShapeInfo{value->shape};
    return OrtStatusPtr{};
  };
  api.ReleaseTensorTypeAndShapeInfo = [](OrtTensorTypeAndShapeInfo* info) { delete info; };
  api.GetDimensionsCount = [](const OrtTensorTypeAndShapeInfo* info, size_t* out) noexcept {
    *out = info->shape.size();
    return OrtStatusPtr{};
  };
  api.GetDimensions = [](const OrtTensorTypeAndShapeInfo* info, int64_t* out, size_t count) noexcept {
    std::copy_n(info->shape.begin(), count, out);
    return OrtStatusPtr{};
  };
  api.GetTensorMemoryInfo = [](const OrtValue*, const OrtMemoryInfo** out) noexcept {
    *out = nullptr;
    return OrtStatusPtr{};
  };
  return api;
}

// The custom ops that the library registers.
inline const std::vector<const OrtCustomOp*>& ops() {
  static const OrtApi table = api();
  static const OrtApiBase base{[](uint32_t) noexcept { return &table; }, []() noexcept { return "stand-in"; }};
  if (registered.empty()) RegisterCustomOps(nullptr, &base);
  return registered;
}

}  // namespace stand_in
