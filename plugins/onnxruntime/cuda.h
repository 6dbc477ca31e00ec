// The msdk ops on ONNX Runtime's CUDA provider: their CUDA kernels on the provider's own stream.
#pragma once

#include <memory>

#include "cuda/driver.h"
#include "cuda/stream.h"
#include "onnxruntime/ort.h"

namespace msdk::ort {

cuda::Stream stream_of(const Ort::KernelContext& context);

// Device memory from the provider's own arena. It is given back as soon as the work is enqueued: what the arena next
// makes of it is on the same stream, or waits for that stream.
class Workspace {
 public:
  Workspace(const Ort::KernelContext& context, size_t bytes);
  ~Workspace() {
    if (data_) const Ort::Status unused(Ort::GetApi().AllocatorFree(allocator_.get(), data_));  // nothing to tell it to
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void* data() const { return data_; }

 private:
  struct Release {
    void operator()(OrtAllocator* allocator) const { Ort::GetApi().ReleaseAllocator(allocator); }
  };
  std::unique_ptr<OrtAllocator, Release> allocator_;  // Ort::Allocator of 1.23 takes none over
  void* data_ = nullptr;
};

// In a library without CUDA it stands for float16 alone: ONNX Runtime must know of an op of that type to give the CPU a
// float16 graph, with casts around the float32 op.
struct Cuda {
  static constexpr const char* kProvider = "CUDAExecutionProvider";
  static constexpr bool kMayOverwrite = false;  // kernels read inputs by the read-only path

  static void check() {
#ifdef MSDK_CUDA
    if (const char* problem = cuda::driver_problem()) throw Ort::Exception(problem, ORT_FAIL);
#endif
  }

  template <class Op, class Call>
  static void run([[maybe_unused]] const Ort::KernelContext& context, [[maybe_unused]] const Call& call) {
#ifdef MSDK_CUDA
    const char* refusal = Op::on_cuda(call, context);
#else
    const char* refusal =
        "this msdk library was built without CUDA: rebuild it where nvcc is, or open the session with the CPU alone";
#endif
    if (refusal) throw Ort::Exception(refusal, ORT_FAIL);
  }
};

}  // namespace msdk::ort
