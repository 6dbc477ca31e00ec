// AveragePool3d as ONNX Runtime sees it: ONNX's AveragePool over boxes side by side, for the CPU alone.

#include <vector>

#include "onnxruntime/add.h"
#include "onnxruntime/checks.h"
#include "ops/average_pool3d/cpu.h"

namespace msdk::ort {
namespace {

constexpr int64_t kLongestKernel = 2;

class AveragePool3d {
 public:
  using Type = float;
  static constexpr const char* kName = "AveragePool3d";
  static constexpr size_t kInputs = 1, kOptionalInputs = 0;
  static constexpr bool is_parameter(size_t) { return false; }

  explicit AveragePool3d(const OrtKernelInfo* info) : kernel_(ints_attribute(info, "kernel", 3)) {
    for (int axis = 0; axis < 3; ++axis) check_at_most(along("kernel", axis).c_str(), kernel_[axis], kLongestKernel);
  }

  AveragePool3dArgs arguments(const Ort::KernelContext& context) const {
    const auto x = input<float>(context, 0, "x", {kAny, kAny, kAny, kAny, kAny});
    AveragePool3dArgs args{x[0], x[1], {}, {}, x.data, nullptr};
    std::vector<int64_t> pooled{x[0], x[1]};
    for (int axis = 0; axis < 3; ++axis) {
      const int64_t side = args.in[axis] = x[axis + 2], kernel = args.kernel[axis] = kernel_[axis];
      check_at_most(along("x", axis).c_str(), side, INT32_MAX);
      if (side < kernel) {
        fail(along("x", axis) + ": expected at least the kernel's " + std::to_string(kernel) + " voxels, got " +
             std::to_string(side));
      }
      pooled.push_back(side / kernel);
    }
    args.y = output<float>(context, pooled);
    return args;
  }

  static void on_cpu(const AveragePool3dArgs& args, const cpu::Parallel& parallel) {
    cpu::average_pool3d(args, parallel);
  }

 private:
  std::vector<int64_t> kernel_;
};

}  // namespace

void add_average_pool3d(Ort::CustomOpDomain& domain) { add_on<AveragePool3d, Cpu>(domain); }

}  // namespace msdk::ort
