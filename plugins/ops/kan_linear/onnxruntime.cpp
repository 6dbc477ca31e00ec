// KanLinear as ONNX Runtime sees it, on the CPU and on CUDA; T is float or Half.

#include "onnxruntime/add.h"
#include "onnxruntime/checks.h"
#include "ops/kan_linear/cpu.h"
#include "ops/kan_linear/cuda.h"

namespace msdk::ort {
namespace {

template <class T>
class KanLinear {
 public:
  using Type = T;
  static constexpr const char* kName = "KanLinear";
  static constexpr size_t kInputs = 3, kOptionalInputs = 0;
  static constexpr bool is_parameter(size_t input) { return input >= 1; }

  explicit KanLinear(const OrtKernelInfo* info)
      : grid_min_(float_attribute(info, "grid_min", -1.0f)), grid_max_(float_attribute(info, "grid_max", 1.0f)) {
    if (!(grid_min_ < grid_max_)) {
      fail("grid_min must be below grid_max, got " + std::to_string(grid_min_) + " and " + std::to_string(grid_max_));
    }
  }

  KanLinearArgs<T> arguments(const Ort::KernelContext& context) const {
    const auto x = input<T>(context, 0, "x", {kAny, kAny, kAny});
    const auto base = input<float>(context, 1, "base_weight", {kAny, x[1]});
    const auto spline = input<float>(context, 2, "spline_weight", {base[0], x[1], kAny});
    if (spline[2] < 4) fail("spline_weight: expected at least 4 bases, got " + std::to_string(spline[2]));
    check_at_most("bases of spline_weight", spline[2], kMaxSplineBases);

    KanLinearArgs<T> args{};
    args.batch = x[0];
    args.in_channels = x[1];
    args.out_channels = base[0];
    args.length = x[2];
    args.bases = static_cast<int>(spline[2]);
    args.grid_min = grid_min_;
    args.grid_max = grid_max_;
    args.x = x.data;
    args.base_weight = base.data;
    args.spline_weight = spline.data;
    args.y = output<T>(context, {x[0], base[0], x[2]});
    return args;
  }

  static void on_cpu(const KanLinearArgs<float>& args, const cpu::Parallel& parallel) {
    cpu::kan_linear(args, parallel);
  }

  static const char* on_cuda(const KanLinearArgs<T>& args, const Ort::KernelContext& context) {
    return cuda::kan_linear(args, stream_of(context));
  }

 private:
  float grid_min_, grid_max_;
};

}  // namespace

void add_kan_linear(Ort::CustomOpDomain& domain) { add_on_cpu_and_cuda<KanLinear>(domain); }

}  // namespace msdk::ort
