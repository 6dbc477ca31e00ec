#include "onnxruntime/norm.h"

#include "onnxruntime/checks.h"

namespace msdk::ort {
namespace {

Activation activation_named(const std::string& name) {
  if (name == "none") return Activation::kNone;
  if (name == "relu") return Activation::kRelu;
  if (name == "leaky_relu") return Activation::kLeakyRelu;
  fail("activation: expected none, relu or leaky_relu, got '" + name + "'");
}

}  // namespace

NormAttributes::NormAttributes(const OrtKernelInfo* info)
    : epsilon(float_attribute(info, "epsilon", 1e-5f)),
      slope(float_attribute(info, "slope", 0.01f)),
      activation(activation_named(string_attribute(info, "activation", "none"))) {
  if (!(epsilon >= 0.0f)) fail("epsilon: expected a number of at least 0, got " + std::to_string(epsilon));
}

float NormAttributes::slope_below_zero() const {
  switch (activation) {
    case Activation::kRelu:
      return 0.0f;
    case Activation::kLeakyRelu:
      return slope;
    default:
      return 1.0f;
  }
}

cpu::NormOfInput norm_of_input(const Ort::KernelContext& context, size_t first, float epsilon, int64_t batch,
                               int64_t channels) {
  cpu::NormOfInput norm{};
  norm.weight = input<float>(context, first, "norm_weight", {channels}).data;
  norm.bias = input<float>(context, first + 1, "norm_bias", {channels}).data;
  norm.epsilon = epsilon;
  if (has_input(context, first + 2)) {
    norm.moments = input<double>(context, first + 2, "moments", {batch, channels, 2}).data;
  }
  return norm;
}

}  // namespace msdk::ort
