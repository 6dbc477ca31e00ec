#include "cuda_ops.h"

namespace msdk::ort {
namespace {

cuda::Stream stream_of(const Ort::KernelContext& context) {
  return static_cast<cuda::Stream>(context.GetGPUComputeStream());
}

void check_launch(const char* refusal) {
  if (refusal) throw Ort::Exception(refusal, ORT_FAIL);
}

// Device memory from the provider's own arena. It is given back as soon as the work is enqueued: what the arena next
// makes of it is on the same stream, or waits for that stream.
class Workspace {
 public:
  Workspace(const Ort::KernelContext& context, size_t bytes) {
    if (bytes == 0) return;
    const OrtApi& api = Ort::GetApi();
    const auto where = context.GetInput(0).GetTensorMemoryInfo();
    OrtAllocator* allocator = nullptr;
    Ort::ThrowOnError(api.KernelContext_GetAllocator(context.GetOrtKernelContext(), where, &allocator));
    allocator_ = Ort::Allocator(allocator);
    Ort::ThrowOnError(api.KernelContext_GetScratchBuffer(context.GetOrtKernelContext(), where, bytes, &data_));
    if (!data_)
      throw Ort::Exception("no device memory for a workspace of " + std::to_string(bytes) + " bytes", ORT_FAIL);
  }
  ~Workspace() {
    if (data_) allocator_.Free(data_);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void* data() const { return data_; }

 private:
  Ort::Allocator allocator_{nullptr};
  void* data_ = nullptr;
};

}  // namespace

template <class T>
void Cuda::run(const Ort::KernelContext& context, const DirectionalConv1dArgs<T>& args) {
  check_launch(cuda::directional_conv1d(args, stream_of(context)));
}

template <class T>
void Cuda::run(const Ort::KernelContext& context, const SelectiveScanArgs<T>& args) {
  const Workspace workspace(context, cuda::selective_scan_workspace(args));
  check_launch(cuda::selective_scan(args, workspace.data(), stream_of(context)));
}

template <class T>
void Cuda::run(const Ort::KernelContext& context, const KanLinearArgs<T>& args) {
  check_launch(cuda::kan_linear(args, stream_of(context)));
}

template void Cuda::run(const Ort::KernelContext&, const DirectionalConv1dArgs<float>&);
template void Cuda::run(const Ort::KernelContext&, const DirectionalConv1dArgs<Half>&);
template void Cuda::run(const Ort::KernelContext&, const SelectiveScanArgs<float>&);
template void Cuda::run(const Ort::KernelContext&, const SelectiveScanArgs<Half>&);
template void Cuda::run(const Ort::KernelContext&, const KanLinearArgs<float>&);
template void Cuda::run(const Ort::KernelContext&, const KanLinearArgs<Half>&);

}  // namespace msdk::ort
