// The library's entry point: SessionOptions.register_custom_ops_library calls it.

#include "cpu_ops.h"
#include "cuda_ops.h"
#include "node.h"
#include "ops.h"

namespace msdk::ort {
namespace {

// Sessions refer to the ops, and may be closed as late as at exit: they live as long as the process.
template <class T, class Device>
void add_ops(Ort::CustomOpDomain& domain) {
  static const CustomOp<DirectionalConv1d, T, Device> conv;
  static const CustomOp<BidirectionalSelectiveScan, T, Device> scan;
  static const CustomOp<KanLinear, T, Device> kan;
  domain.Add(&conv);
  domain.Add(&scan);
  domain.Add(&kan);
}

const OrtCustomOpDomain* domain() {
  static const OrtCustomOpDomain* const registered = [] {
    Ort::CustomOpDomain ops{"msdk"};
    add_ops<float, Cpu>(ops);
#ifdef MSDK_CUDA
    add_ops<float, Cuda>(ops);
    add_ops<Half, Cuda>(ops);
#else
    add_ops<Half, CudaNotBuilt>(ops);
#endif
    return ops.release();
  }();
  return registered;
}

}  // namespace
}  // namespace msdk::ort

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                               const OrtApiBase* api_base) {
  const OrtApi* api = api_base->GetApi(msdk::ort::kApiVersion);
  if (!api) return nullptr;  // ONNX Runtime has already said that it is too old
  Ort::InitApi(api);
  return msdk::ort::guarded(
      [&] { Ort::ThrowOnError(api->AddCustomOpDomain(options, const_cast<OrtCustomOpDomain*>(msdk::ort::domain()))); });
}
