// The library's entry point: SessionOptions.register_custom_ops_library calls it.
//
// Ops that stand for standard ones, and have a kernel for the CPU alone, are there for sessions that ask for them with
// the entry msdk.cpu_ops = 1 before this is called. In any other session ONNX Runtime runs their bodies, which are in
// the model: its CUDA provider would otherwise hand these nodes to the CPU.

#include "onnxruntime/checks.h"
#include "onnxruntime/node.h"
#include "shared_library.h"

namespace msdk::ort {

// In the ops' onnxruntime.cpp.
void add_conv3d(Ort::CustomOpDomain& domain);
void add_directional_conv1d(Ort::CustomOpDomain& domain);
void add_instance_norm(Ort::CustomOpDomain& domain);
void add_kan_linear(Ort::CustomOpDomain& domain);
void add_selective_scan(Ort::CustomOpDomain& domain);
void add_token_norm(Ort::CustomOpDomain& domain);
void add_trilinear_upsample(Ort::CustomOpDomain& domain);

namespace {

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
    add_directional_conv1d(ops);
    add_selective_scan(ops);
    add_kan_linear(ops);
    if constexpr (kCpuOnly) {
      add_conv3d(ops);
      add_token_norm(ops);
      add_instance_norm(ops);
      add_trilinear_upsample(ops);
    }
    return ops.release();
  }();
  return registered;
}

}  // namespace
}  // namespace msdk::ort

extern "C" MSDK_EXPORT OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* api_base) {
  const OrtApi* api = api_base->GetApi(msdk::ort::kApiVersion);
  if (!api) return nullptr;  // ONNX Runtime has already said that it is too old
  Ort::InitApi(api);
  return msdk::ort::guarded([&] {
    const OrtCustomOpDomain* ops =
        msdk::ort::wants_cpu_ops(options) ? msdk::ort::domain<true>() : msdk::ort::domain<false>();
    Ort::ThrowOnError(api->AddCustomOpDomain(options, const_cast<OrtCustomOpDomain*>(ops)));
  });
}
