// TokenLinear as ONNX Runtime sees it: ONNX's MatMul of a weight with channels-first tokens, and an Add, for the CPU
// alone. Weights that are constants are packed once.

#include <vector>

#include "onnxruntime/add.h"
#include "onnxruntime/checks.h"
#include "ops/token_linear/cpu.h"

namespace msdk::ort {
namespace {

struct TokenLinearCall {
  TokenLinearArgs args;
  const float* packed;  // null: args.weight is still to be packed
};

class TokenLinear {
 public:
  using Type = float;
  static constexpr const char* kName = "TokenLinear";
  static constexpr size_t kInputs = 3, kOptionalInputs = 1;
  static constexpr bool is_parameter(size_t) { return false; }

  explicit TokenLinear(const OrtKernelInfo* info) {
    if (const auto weight = constant_input(info, 1))
      packed_ = cpu::pack_token_linear(with_weight(weight->shape, weight->data));
  }

  TokenLinearCall arguments(const Ort::KernelContext& context) const {
    const auto weight = input_of_rank_from<float>(context, 1, "weight", 2);
    TokenLinearCall call{with_weight(weight.shape, weight.data), packed_.empty() ? nullptr : packed_.data()};
    TokenLinearArgs& args = call.args;
    std::vector<int64_t> expected{kAny, args.in_channels, kAny};
    if (weight.shape.size() == 3) expected.insert(expected.begin() + 1, args.sets);
    const auto x = input<float>(context, 0, "x", expected);
    args.batch = x[0], args.length = x.shape.back(), args.x = x.data;
    std::vector<int64_t> shape = x.shape;
    shape[shape.size() - 2] = args.out_channels;
    if (has_input(context, 2)) args.addend = input<float>(context, 2, "addend", shape).data;
    args.y = output<float>(context, shape);
    return call;
  }

  static void on_cpu(const TokenLinearCall& call, const cpu::Parallel& parallel) {
    const std::vector<float> packed = call.packed ? std::vector<float>() : cpu::pack_token_linear(call.args);
    cpu::token_linear(call.args, call.packed ? call.packed : packed.data(), parallel);
  }

 private:
  // Sizes from a weight of this shape.
  static TokenLinearArgs with_weight(const std::vector<int64_t>& shape, const float* weight) {
    if (shape.size() != 2) check_shape("weight", shape, {kAny, kAny, kAny});
    TokenLinearArgs args{};
    args.in_channels = shape.back(), args.out_channels = shape[shape.size() - 2];
    args.sets = shape.size() == 3 ? shape[0] : 1;
    args.weight = weight;
    check_at_most("input channels of weight", args.in_channels, INT32_MAX);
    check_at_most("output channels of weight", args.out_channels, INT32_MAX);
    check_at_most("sets of weight", args.sets, INT32_MAX);
    return args;
  }

  std::vector<float> packed_;
};

}  // namespace

void add_token_linear(Ort::CustomOpDomain& domain) { add_on<TokenLinear, Cpu>(domain); }

}  // namespace msdk::ort
