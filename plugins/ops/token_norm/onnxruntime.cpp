#include "ops/token_norm/onnxruntime.h"

#include "onnxruntime/checks.h"
#include "ops/token_norm/cpu.h"

namespace msdk::ort {

template <class T>
TokenNorm<T>::TokenNorm(const OrtKernelInfo* info) : epsilon_(float_attribute(info, "epsilon", 1e-5f)) {
  if (!(epsilon_ > 0.0f)) fail("epsilon: expected a number above 0, got " + std::to_string(epsilon_));
}

template <class T>
TokenNormArgs TokenNorm<T>::arguments(const Ort::KernelContext& context) const {
  const auto weight = input<T>(context, 1, "weight", {kAny});
  const auto x = input<T>(context, 0, "x", {kAny, weight[0], kAny});
  check_at_most("channels", weight[0], INT32_MAX);
  const auto bias = input<T>(context, 2, "bias", {weight[0]});
  return {x[0], weight[0], x[2], epsilon_, x.data, weight.data, bias.data, output<T>(context, {x[0], weight[0], x[2]})};
}

template <class T>
void TokenNorm<T>::on_cpu(const TokenNormArgs& args, const cpu::Parallel& parallel) {
  cpu::token_norm(args, parallel);
}

template class TokenNorm<float>;

}  // namespace msdk::ort
