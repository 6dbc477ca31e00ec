// The library's entry point: SessionOptions.register_custom_ops_library calls it.
//
// Ops that stand for standard ones are there for sessions that ask for them before this is called: with the entry
// msdk.cpu_ops = 1 those that have a kernel for the CPU, with msdk.cuda_ops = 1 those that have one for CUDA. In any
// other session ONNX Runtime runs their bodies, which are in the model: a provider of another device would otherwise
// hand these nodes to the CPU.

#include "cpu/kernels.h"
#include "onnxruntime/checks.h"
#include "onnxruntime/node.h"
#include "shared_library.h"

namespace msdk::ort {

// In the ops' onnxruntime.cpp.
void add_average_pool3d(Ort::CustomOpDomain& domain);
void add_conv3d(Ort::CustomOpDomain& domain);
void add_conv_transpose3d(Ort::CustomOpDomain& domain);
void add_directional_conv1d(Ort::CustomOpDomain& domain);
void add_instance_norm(Ort::CustomOpDomain& domain);
void add_kan_linear(Ort::CustomOpDomain& domain);
void add_selective_scan(Ort::CustomOpDomain& domain);
void add_token_linear(Ort::CustomOpDomain& domain);
void add_token_norm(Ort::CustomOpDomain& domain);
void add_trilinear_upsample(Ort::CustomOpDomain& domain);

namespace {

enum class StandIns { kNone, kOfCpu, kOfCuda };

// Whether the session has the entry with the value 1.
bool asks_for(const OrtSessionOptions* options, const char* entry) {
  const OrtApi& api = Ort::GetApi();
  int there = 0;
  Ort::ThrowOnError(api.HasSessionConfigEntry(options, entry, &there));
  if (!there) return false;
  char value[2] = {};
  size_t size = sizeof(value);
  if (OrtStatus* status = api.GetSessionConfigEntry(options, entry, value, &size)) api.ReleaseStatus(status);
  if (value[0] != '0' && value[0] != '1') fail(std::string(entry) + ": expected 0 or 1");
  return value[0] == '1';
}

StandIns wanted(const OrtSessionOptions* options) {
  const bool cpu = asks_for(options, "msdk.cpu_ops"), cuda = asks_for(options, "msdk.cuda_ops");
  if (cpu && cuda) fail("msdk.cpu_ops and msdk.cuda_ops: expected one of them to be 1, got both");
  return cpu ? StandIns::kOfCpu : cuda ? StandIns::kOfCuda : StandIns::kNone;
}

template <StandIns kWanted>
const OrtCustomOpDomain* domain() {
  static const OrtCustomOpDomain* const registered = [] {
    Ort::CustomOpDomain ops{"msdk"};
    add_directional_conv1d(ops);
    add_selective_scan(ops);
    add_kan_linear(ops);
    if constexpr (kWanted == StandIns::kOfCpu) {
      add_average_pool3d(ops);
      add_conv3d(ops);
      add_conv_transpose3d(ops);
      add_token_linear(ops);
      add_trilinear_upsample(ops);
    }
#ifdef MSDK_CUDA
    constexpr bool kNorms = kWanted != StandIns::kNone;
#else
    constexpr bool kNorms = kWanted == StandIns::kOfCpu;
#endif
    if constexpr (kNorms) {
      add_token_norm(ops);
      add_instance_norm(ops);
    }
    return ops.release();
  }();
  return registered;
}

const OrtCustomOpDomain* domain_for(const OrtSessionOptions* options) {
  switch (wanted(options)) {
    case StandIns::kOfCpu:
      return domain<StandIns::kOfCpu>();
    case StandIns::kOfCuda:
      return domain<StandIns::kOfCuda>();
    default:
      return domain<StandIns::kNone>();
  }
}

}  // namespace
}  // namespace msdk::ort

// The kernels that the ops run on in this process: avx512, avx2 or baseline.
extern "C" MSDK_EXPORT const char* msdk_cpu_kernels() { return msdk::cpu::kernels().name; }

extern "C" MSDK_EXPORT OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* api_base) {
  const OrtApi* api = api_base->GetApi(msdk::ort::kApiVersion);
  if (!api) return nullptr;  // ONNX Runtime has already said that it is too old
  Ort::InitApi(api);
  return msdk::ort::guarded([&] {
    Ort::ThrowOnError(api->AddCustomOpDomain(options, const_cast<OrtCustomOpDomain*>(msdk::ort::domain_for(options))));
  });
}
