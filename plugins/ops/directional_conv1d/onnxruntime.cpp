// DirectionalConv1d as ONNX Runtime sees it, on the CPU and on CUDA; T is float or Half.

#include "onnxruntime/add.h"
#include "onnxruntime/checks.h"
#include "ops/directional_conv1d/cpu.h"
#include "ops/directional_conv1d/cuda.h"

namespace msdk::ort {
namespace {

template <class T>
class DirectionalConv1d {
 public:
  using Type = T;
  static constexpr const char* kName = "DirectionalConv1d";
  static constexpr size_t kInputs = 3, kOptionalInputs = 0;
  static constexpr bool is_parameter(size_t input) { return input >= 1; }

  explicit DirectionalConv1d(const OrtKernelInfo* info) : directions_(directions_attribute(info)) {}

  DirectionalConv1dArgs<T> arguments(const Ort::KernelContext& context) const {
    const int64_t K = directions_.count;
    const auto x = input<T>(context, 0, "x", {kAny, kAny, kAny});
    const auto weight = input<float>(context, 1, "weight", {K, x[1], kAny});
    const auto bias = input<float>(context, 2, "bias", {K, x[1]});
    check_at_most("width of weight", weight[2], kMaxConvWidth);
    check_tokens(directions_, x[2]);

    DirectionalConv1dArgs<T> args{};
    args.batch = x[0];
    args.channels = x[1];
    args.length = x[2];
    args.width = static_cast<int>(weight[2]);
    args.directions = directions_;
    args.x = x.data;
    args.weight = weight.data;
    args.bias = bias.data;
    args.u = output<T>(context, {x[0], K, x[1], x[2]});
    return args;
  }

  static void on_cpu(const DirectionalConv1dArgs<float>& args, const cpu::Parallel& parallel) {
    cpu::directional_conv1d(args, parallel);
  }

  static const char* on_cuda(const DirectionalConv1dArgs<T>& args, const Ort::KernelContext& context) {
    return cuda::directional_conv1d(args, stream_of(context));
  }

 private:
  DirectionList directions_;
};

}  // namespace

void add_directional_conv1d(Ort::CustomOpDomain& domain) { add_on_cpu_and_cuda<DirectionalConv1d>(domain); }

}  // namespace msdk::ort
