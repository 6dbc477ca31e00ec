// InstanceNorm as ONNX Runtime sees it: ONNX's InstanceNormalization with what follows it, on the CPU and on
// CUDA; T is float or Half.

#include "onnxruntime/add.h"
#include "onnxruntime/checks.h"
#include "onnxruntime/norm.h"
#include "ops/instance_norm/cpu.h"
#include "ops/instance_norm/cuda.h"

namespace msdk::ort {
namespace {

template <class T>
class InstanceNorm {
 public:
  using Type = T;
  static constexpr const char* kName = "InstanceNorm";
  static constexpr size_t kInputs = 4, kOptionalInputs = 1;
  static constexpr int kOverwrites = 0;
  static constexpr bool is_parameter(size_t input) { return input == 1 || input == 2; }

  explicit InstanceNorm(const OrtKernelInfo* info) : norm_(info) {}

  InstanceNormArgs<T> arguments(const Ort::KernelContext& context) const {
    const Input<T> x = input_of_rank_from<T>(context, 0, "x", 3);
    const auto weight = input<float>(context, 1, "weight", {x[1]});
    const auto bias = input<float>(context, 2, "bias", {x[1]});
    int64_t voxels = 1;
    for (size_t axis = 2; axis < x.shape.size(); ++axis) voxels *= x[axis];
    check_at_most("voxels of x", voxels, INT64_MAX);
    InstanceNormArgs<T> args{x[0],   x[1],        voxels,    norm_.epsilon, norm_.activation, norm_.slope,
                             x.data, weight.data, bias.data, nullptr,       nullptr};
    if (has_input(context, 3)) args.addend = input<T>(context, 3, "addend", x.shape).data;
    args.y = output<T>(context, x.shape);
    return args;
  }

  static void on_cpu(const InstanceNormArgs<float>& args, const cpu::Parallel& parallel) {
    cpu::instance_norm(args, parallel);
  }

  static const char* on_cuda(const InstanceNormArgs<T>& args, const Ort::KernelContext& context) {
    const Workspace workspace(context, cuda::instance_norm_workspace(args));
    return cuda::instance_norm(args, workspace.data(), stream_of(context));
  }

 private:
  NormAttributes norm_;
};

}  // namespace

void add_instance_norm(Ort::CustomOpDomain& domain) { add_on_cpu_and_cuda<InstanceNorm>(domain); }

}  // namespace msdk::ort
