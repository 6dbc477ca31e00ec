// The library's entry point: SessionOptions.register_custom_ops_library calls it.
//
// Ops that stand for standard ones, and have a kernel for the CPU alone, are there for sessions that ask for them with
// the entry msdk.cpu_ops = 1 before this is called. In any other session ONNX Runtime runs their bodies, which are in
// the model: its CUDA provider would otherwise hand these nodes to the CPU.

#include "onnxruntime/checks.h"
#include "onnxruntime/cpu.h"
#include "onnxruntime/cuda.h"
#include "onnxruntime/node.h"
#include "ops/conv3d/onnxruntime.h"
#include "ops/directional_conv1d/onnxruntime.h"
#include "ops/instance_norm/onnxruntime.h"
#include "ops/kan_linear/onnxruntime.h"
#include "ops/selective_scan/onnxruntime.h"
#include "ops/token_norm/onnxruntime.h"
#include "ops/trilinear_upsample/onnxruntime.h"

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

constexpr const char* kCpuOps = "msdk.cpu_ops";

bool wants_cpu_ops(const OrtSessionOptions* options) {
  const OrtApi& api = Ort::GetApi();
  int there = 0;
  Ort::ThrowOnError(api.HasSessionConfigEntry(options, kCpuOps, &there));
  if (!there) return false;
  char value[2] = {};
  size_t size = sizeof(value);
  if (OrtStatus* status = api.GetSessionConfigEntry(options, kCpuOps, value, &size)) api.ReleaseStatus(status);
  if (value[0] != '0' && value[0] != '1') fail(std::string(kCpuOps) + ": expected 0 or 1");
  return value[0] == '1';
}

template <bool kCpuOnly>
const OrtCustomOpDomain* domain() {
  static const OrtCustomOpDomain* const registered = [] {
    Ort::CustomOpDomain ops{"msdk"};
    add_ops<float, Cpu>(ops);
    if constexpr (kCpuOnly) {
      static const CustomOp<Conv3d, float, Cpu> conv3d;
      static const CustomOp<TokenNorm, float, Cpu> norm;
      static const CustomOp<InstanceNorm, float, Cpu> instance_norm;
      static const CustomOp<TrilinearUpsample, float, Cpu> upsample;
      ops.Add(&conv3d);
      ops.Add(&norm);
      ops.Add(&instance_norm);
      ops.Add(&upsample);
    }
#ifdef MSDK_CUDA
    add_ops<float, Cuda>(ops);
#endif
    add_ops<Half, Cuda>(ops);
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
  return msdk::ort::guarded([&] {
    const OrtCustomOpDomain* ops =
        msdk::ort::wants_cpu_ops(options) ? msdk::ort::domain<true>() : msdk::ort::domain<false>();
    Ort::ThrowOnError(api->AddCustomOpDomain(options, const_cast<OrtCustomOpDomain*>(ops)));
  });
}
