// TokenNorm as ONNX Runtime sees it, on the CPU and on CUDA; T is float or Half.

#include "onnxruntime/add.h"
#include "onnxruntime/checks.h"
#include "ops/token_norm/cpu.h"
#include "ops/token_norm/cuda.h"

namespace msdk::ort {
namespace {

template <class T>
class TokenNorm {
 public:
  using Type = T;
  static constexpr const char* kName = "TokenNorm";
  static constexpr size_t kInputs = 3, kOptionalInputs = 0;
  static constexpr bool is_parameter(size_t input) { return input >= 1; }

  explicit TokenNorm(const OrtKernelInfo* info) : epsilon_(float_attribute(info, "epsilon", 1e-5f)) {
    if (!(epsilon_ > 0.0f)) fail("epsilon: expected a number above 0, got " + std::to_string(epsilon_));
  }

  TokenNormArgs<T> arguments(const Ort::KernelContext& context) const {
    const auto weight = input<float>(context, 1, "weight", {kAny});
    const auto x = input<T>(context, 0, "x", {kAny, weight[0], kAny});
    check_at_most("channels", weight[0], INT32_MAX);
    const auto bias = input<float>(context, 2, "bias", {weight[0]});
    return {x[0],   weight[0],   x[2],      epsilon_,
            x.data, weight.data, bias.data, output<T>(context, {x[0], weight[0], x[2]})};
  }

  static void on_cpu(const TokenNormArgs<float>& args, const cpu::Parallel& parallel) {
    cpu::token_norm(args, parallel);
  }

  static const char* on_cuda(const TokenNormArgs<T>& args, const Ort::KernelContext& context) {
    return cuda::token_norm(args, stream_of(context));
  }

 private:
  float epsilon_;
};

}  // namespace

void add_token_norm(Ort::CustomOpDomain& domain) { add_on_cpu_and_cuda<TokenNorm>(domain); }

}  // namespace msdk::ort
