// TrilinearUpsample as ONNX Runtime sees it: ONNX's Resize to twice every side, and an Add, for the CPU alone.

#include "onnxruntime/add.h"
#include "onnxruntime/checks.h"
#include "ops/trilinear_upsample/cpu.h"

namespace msdk::ort {
namespace {

class TrilinearUpsample {
 public:
  using Type = float;
  static constexpr const char* kName = "TrilinearUpsample";
  static constexpr size_t kInputs = 2, kOptionalInputs = 1;
  static constexpr bool is_parameter(size_t) { return false; }

  explicit TrilinearUpsample(const OrtKernelInfo*) {}

  TrilinearUpsampleArgs arguments(const Ort::KernelContext& context) const {
    const auto x = input<float>(context, 0, "x", {kAny, kAny, kAny, kAny, kAny});
    for (int axis = 0; axis < 3; ++axis) check_at_most(along("x", axis).c_str(), x[axis + 2], INT32_MAX);
    TrilinearUpsampleArgs args{x[0], x[1], {x[2], x[3], x[4]}, x.data, nullptr, nullptr};
    const auto doubled = {x[0], x[1], 2 * x[2], 2 * x[3], 2 * x[4]};
    if (has_input(context, 1)) args.addend = input<float>(context, 1, "addend", doubled).data;
    args.y = output<float>(context, doubled);
    return args;
  }

  static void on_cpu(const TrilinearUpsampleArgs& args, const cpu::Parallel& parallel) {
    cpu::trilinear_upsample(args, parallel);
  }
};

}  // namespace

void add_trilinear_upsample(Ort::CustomOpDomain& domain) { add_on<TrilinearUpsample, Cpu>(domain); }

}  // namespace msdk::ort
