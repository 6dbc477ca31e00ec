// BidirectionalSelectiveScan as ONNX Runtime sees it, on the CPU and on CUDA; T is float or Half.

#include "onnxruntime/add.h"
#include "onnxruntime/checks.h"
#include "ops/selective_scan/cpu.h"
#include "ops/selective_scan/cuda.h"

namespace msdk::ort {
namespace {

template <class T>
class BidirectionalSelectiveScan {
 public:
  using Type = T;
  static constexpr const char* kName = "BidirectionalSelectiveScan";
  static constexpr size_t kInputs = 7, kOptionalInputs = 1;
  static constexpr bool is_parameter(size_t input) { return input >= 2 && input <= 5; }

  explicit BidirectionalSelectiveScan(const OrtKernelInfo* info)
      : directions_(directions_attribute(info)), scale_(float_attribute(info, "scale", 1.0f)) {}

  SelectiveScanArgs<T> arguments(const Ort::KernelContext& context) const {
    const int64_t K = directions_.count;
    const auto u = input<T>(context, 0, "u", {kAny, K, kAny, kAny});
    const int64_t batch = u[0], channels = u[2], length = u[3];
    const auto dt_weight = input<float>(context, 2, "dt_weight", {K, channels, kAny});
    const auto dt_bias = input<float>(context, 3, "dt_bias", {K, channels});
    const auto A = input<float>(context, 4, "A", {K, channels, kAny});
    const auto D_skip = input<float>(context, 5, "D_skip", {K, channels});
    check_at_most("states of A", A[2], kMaxStates);
    check_at_most("dt_rank of dt_weight", dt_weight[2], channels > 64 ? channels : 64);
    const auto x_dbl = input<T>(context, 1, "x_dbl", {batch, K, dt_weight[2] + 2 * A[2], length});
    check_tokens(directions_, length);

    SelectiveScanArgs<T> args{};
    args.batch = batch;
    args.channels = channels;
    args.length = length;
    args.states = static_cast<int>(A[2]);
    args.dt_rank = static_cast<int>(dt_weight[2]);
    args.directions = directions_;
    args.scale = scale_;
    args.u = u.data;
    args.x_dbl = x_dbl.data;
    args.dt_weight = dt_weight.data;
    args.dt_bias = dt_bias.data;
    args.A = A.data;
    args.D_skip = D_skip.data;
    if (has_input(context, 6)) args.z = input<T>(context, 6, "z", {batch, channels, length}).data;
    args.y = output<T>(context, {batch, channels, length});
    return args;
  }

  static void on_cpu(const SelectiveScanArgs<float>& args, const cpu::Parallel& parallel) {
    for (int64_t i = 0; i < args.directions.count * args.channels * args.states; ++i) {
      if (!(args.A[i] <= 0.0f)) fail("A: expected -exp(A_log), at most 0, got " + std::to_string(args.A[i]));
    }
    cpu::selective_scan(args, parallel);
  }

  // Tensors lie in device memory, so that A is not checked for values above 0.
  static const char* on_cuda(const SelectiveScanArgs<T>& args, const Ort::KernelContext& context) {
    const Workspace workspace(context, cuda::selective_scan_workspace(args));
    return cuda::selective_scan(args, workspace.data(), stream_of(context));
  }

 private:
  DirectionList directions_;
  float scale_;
};

}  // namespace

void add_selective_scan(Ort::CustomOpDomain& domain) { add_on_cpu_and_cuda<BidirectionalSelectiveScan>(domain); }

}  // namespace msdk::ort
