// The library's entry point: SessionOptions.register_custom_ops_library calls it.

#include "cpu_ops.h"
#include "node.h"

namespace msdk::ort {
namespace {

// Kept for the life of the process: sessions refer to it, and may be closed as late as at exit.
const OrtCustomOpDomain* domain() {
  static const OrtCustomOpDomain* const registered = [] {
    static const CpuOp<DirectionalConv1d> conv;
    static const CpuOp<BidirectionalSelectiveScan> scan;
    static const CpuOp<KanLinear> kan;
    Ort::CustomOpDomain ops{"msdk"};
    ops.Add(&conv);
    ops.Add(&scan);
    ops.Add(&kan);
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
