#include "onnxruntime/cuda.h"

namespace msdk::ort {

cuda::Stream stream_of(const Ort::KernelContext& context) {
  return static_cast<cuda::Stream>(context.GetGPUComputeStream());
}

Workspace::Workspace(const Ort::KernelContext& context, size_t bytes) {
  if (bytes == 0) return;
  const OrtApi& api = Ort::GetApi();
  const auto where = context.GetInput(0).GetTensorMemoryInfo();
  OrtAllocator* allocator = nullptr;
  Ort::ThrowOnError(api.KernelContext_GetAllocator(context.GetOrtKernelContext(), where, &allocator));
  allocator_.reset(allocator);
  Ort::ThrowOnError(api.KernelContext_GetScratchBuffer(context.GetOrtKernelContext(), where, bytes, &data_));
  if (!data_) throw Ort::Exception("no device memory for a workspace of " + std::to_string(bytes) + " bytes", ORT_FAIL);
}

}  // namespace msdk::ort
