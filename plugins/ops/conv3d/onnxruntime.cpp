// Conv3d as ONNX Runtime sees it: ONNX's Conv in three dimensions, for the CPU alone. Weights that are constants are
// packed once. NormConv3d is the same between norms: it reads x normalised, and gives the moments of y.

#include <optional>
#include <vector>

#include "onnxruntime/add.h"
#include "onnxruntime/checks.h"
#include "onnxruntime/norm.h"
#include "ops/conv3d/cpu.h"

namespace msdk::ort {
namespace {

constexpr int64_t kLongestKernel = 16;

struct Conv3dCall {
  Conv3dArgs args;
  const float* packed;  // null: args.weight is still to be packed
};

class Conv3d {
 public:
  using Type = float;
  static constexpr const char* kName = "Conv3d";
  static constexpr size_t kInputs = 3, kOptionalInputs = 1;
  static constexpr bool is_parameter(size_t) { return false; }

  explicit Conv3d(const OrtKernelInfo* info)
      : strides_(ints_attribute(info, "strides", 3)), pads_(ints_attribute(info, "pads", 6)) {
    Ort::ThrowOnError(Ort::GetApi().KernelInfoGetAttribute_int64(info, "group", &groups_));
    if (const auto weight = constant_input(info, 1))
      packed_ = cpu::pack_conv3d(with_weight(weight->shape, weight->data));
  }

  Conv3dCall arguments(const Ort::KernelContext& context) const {
    const auto weight = input<float>(context, 1, "weight", {kAny, kAny, kAny, kAny, kAny});
    Conv3dCall call{with_weight(weight.shape, weight.data), packed_.empty() ? nullptr : packed_.data()};
    Conv3dArgs& args = call.args;
    const auto x = input<float>(context, 0, "x", {kAny, args.in_channels, kAny, kAny, kAny});
    args.batch = x[0];
    args.x = x.data;
    for (int axis = 0; axis < 3; ++axis) {
      args.in[axis] = x[axis + 2];
      const int64_t padded = args.in[axis] + args.before[axis] + args.after[axis];
      if (padded < args.kernel[axis]) {
        fail(along("x", axis) + ": expected at least the kernel's " + std::to_string(args.kernel[axis]) +
             " voxels with its padding, got " + std::to_string(padded));
      }
      args.out[axis] = (padded - args.kernel[axis]) / args.stride[axis] + 1;
    }
    if (has_input(context, 2)) args.bias = input<float>(context, 2, "bias", {args.out_channels}).data;
    args.y = output<float>(context, {args.batch, args.out_channels, args.out[0], args.out[1], args.out[2]});
    return call;
  }

  static void on_cpu(const Conv3dCall& call, const cpu::Parallel& parallel) {
    const std::vector<float> packed = call.packed ? std::vector<float>() : cpu::pack_conv3d(call.args);
    cpu::conv3d(call.args, call.packed ? call.packed : packed.data(), parallel);
  }

 private:
  // Sizes from the attributes and from a weight of this shape.
  Conv3dArgs with_weight(const std::vector<int64_t>& shape, const float* weight) const {
    check_shape("weight", shape, {kAny, kAny, kAny, kAny, kAny});
    check_at_most("group", groups_, shape[0]);
    check_at_most("input channels of weight", shape[1], INT32_MAX / groups_);
    if (shape[0] % groups_) {
      fail("group: expected a divisor of " + std::to_string(shape[0]) + " output channels, got " +
           std::to_string(groups_));
    }
    Conv3dArgs args{};
    args.out_channels = shape[0];
    args.in_channels = shape[1] * groups_;
    args.groups = groups_;
    args.weight = weight;
    for (int axis = 0; axis < 3; ++axis) {
      args.kernel[axis] = shape[axis + 2];
      args.stride[axis] = strides_[axis];
      args.before[axis] = pads_[axis];
      args.after[axis] = pads_[axis + 3];
      check_at_most(along("kernel", axis).c_str(), args.kernel[axis], kLongestKernel);
      check_at_most(along("stride", axis).c_str(), args.stride[axis], args.kernel[axis]);
      for (const int64_t pad : {args.before[axis], args.after[axis]}) {
        if (pad < 0 || pad >= args.kernel[axis]) {
          fail(along("pad", axis) + ": expected 0 to " + std::to_string(args.kernel[axis] - 1) + ", got " +
               std::to_string(pad));
        }
      }
    }
    return args;
  }

  std::vector<int64_t> strides_, pads_;
  int64_t groups_;
  std::vector<float> packed_;
};

struct NormConv3dCall {
  Conv3dCall conv;
  std::optional<cpu::NormOfInput> norm;
  float slope;
};

class NormConv3d {
 public:
  using Type = float;
  static constexpr const char* kName = "NormConv3d";
  static constexpr size_t kInputs = 6, kOptionalInputs = 3;
  static constexpr bool is_moments(size_t input) { return input == 5; }
  static constexpr bool kGivesMoments = true;
  static constexpr bool is_parameter(size_t) { return false; }

  explicit NormConv3d(const OrtKernelInfo* info) : conv_(info), norm_(info) {}

  NormConv3dCall arguments(const Ort::KernelContext& context) const {
    NormConv3dCall call{conv_.arguments(context), {}, norm_.slope_below_zero()};
    Conv3dArgs& args = call.conv.args;
    for (int axis = 0; axis < 3; ++axis) check_at_most(along("x", axis).c_str(), args.in[axis], INT32_MAX);
    if (has_input(context, 3)) call.norm = norm_of_input(context, 3, norm_.epsilon, args.batch, args.in_channels);
    if (context.GetOutputCount() > 1) args.moments = output<double>(context, {args.batch, args.out_channels, 2}, 1);
    return call;
  }

  static void on_cpu(const NormConv3dCall& call, const cpu::Parallel& parallel) {
    Conv3dCall conv = call.conv;
    const Conv3dArgs& a = conv.args;
    std::vector<Normalisation> channels;
    if (call.norm) {
      const int64_t voxels = a.in[0] * a.in[1] * a.in[2];
      channels = cpu::normalisations(*call.norm, a.x, a.batch, a.in_channels, voxels, parallel);
      conv.args.norm = {channels.data(), call.slope};
    }
    Conv3d::on_cpu(conv, parallel);
  }

 private:
  Conv3d conv_;
  NormAttributes norm_;
};

}  // namespace

void add_conv3d(Ort::CustomOpDomain& domain) {
  add_on<Conv3d, Cpu>(domain);
  add_on<NormConv3d, Cpu>(domain);
}

}  // namespace msdk::ort
