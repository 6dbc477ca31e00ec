// ConvTranspose3d as ONNX Runtime sees it: ONNX's ConvTranspose whose kernel is its stride, and a Concat with a skip,
// for the CPU alone. Weights that are constants are packed once. NormConvTranspose3d normalises the skip, or both
// inputs, as it copies them.

#include <optional>
#include <vector>

#include "onnxruntime/add.h"
#include "onnxruntime/checks.h"
#include "onnxruntime/norm.h"
#include "ops/conv_transpose3d/cpu.h"

namespace msdk::ort {
namespace {

constexpr int64_t kLongestKernel = 2;

struct ConvTranspose3dCall {
  ConvTranspose3dArgs args;
  const float* packed;  // null: args.weight is still to be packed
};

class ConvTranspose3d {
 public:
  using Type = float;
  static constexpr const char* kName = "ConvTranspose3d";
  static constexpr size_t kInputs = 4, kOptionalInputs = 1;
  static constexpr bool is_parameter(size_t) { return false; }

  explicit ConvTranspose3d(const OrtKernelInfo* info) : strides_(ints_attribute(info, "strides", 3)) {
    if (const auto weight = constant_input(info, 1))
      packed_ = cpu::pack_conv_transpose3d(with_weight(weight->shape, weight->data));
  }

  ConvTranspose3dCall arguments(const Ort::KernelContext& context) const {
    const auto weight = input<float>(context, 1, "weight", {kAny, kAny, kAny, kAny, kAny});
    ConvTranspose3dCall call{with_weight(weight.shape, weight.data), packed_.empty() ? nullptr : packed_.data()};
    ConvTranspose3dArgs& args = call.args;
    const auto x = input<float>(context, 0, "x", {kAny, args.in_channels, kAny, kAny, kAny});
    args.batch = x[0];
    args.x = x.data;
    int64_t out[3];
    for (int axis = 0; axis < 3; ++axis) {
      args.in[axis] = x[axis + 2];
      check_at_most(along("x", axis).c_str(), args.in[axis], INT32_MAX);
      out[axis] = args.in[axis] * args.kernel[axis];
    }
    args.bias = input<float>(context, 2, "bias", {args.out_channels}).data;
    if (has_input(context, 3)) {
      const auto skip = input<float>(context, 3, "skip", {args.batch, kAny, out[0], out[1], out[2]});
      args.skip_channels = skip[1];
      args.skip = skip.data;
    }
    args.y = output<float>(context, {args.batch, args.out_channels + args.skip_channels, out[0], out[1], out[2]});
    return call;
  }

  static void on_cpu(const ConvTranspose3dCall& call, const cpu::Parallel& parallel) {
    const std::vector<float> packed = call.packed ? std::vector<float>() : cpu::pack_conv_transpose3d(call.args);
    cpu::conv_transpose3d(call.args, call.packed ? call.packed : packed.data(), parallel);
  }

 private:
  ConvTranspose3dArgs with_weight(const std::vector<int64_t>& shape, const float* weight) const {
    check_shape("weight", shape, {kAny, kAny, kAny, kAny, kAny});
    check_at_most("input channels of weight", shape[0], INT32_MAX);
    check_at_most("output channels of weight", shape[1], INT32_MAX);
    ConvTranspose3dArgs args{};
    args.in_channels = shape[0];
    args.out_channels = shape[1];
    args.weight = weight;
    for (int axis = 0; axis < 3; ++axis) {
      args.kernel[axis] = shape[axis + 2];
      check_at_most(along("kernel", axis).c_str(), args.kernel[axis], kLongestKernel);
      if (strides_[axis] != args.kernel[axis]) {
        fail(along("stride", axis) + ": expected the kernel's " + std::to_string(args.kernel[axis]) + ", got " +
             std::to_string(strides_[axis]));
      }
    }
    return args;
  }

  std::vector<int64_t> strides_;
  std::vector<float> packed_;
};

struct NormConvTranspose3dCall {
  ConvTranspose3dCall transposed;
  cpu::NormOfInput of_skip;
  std::optional<cpu::NormOfInput> of_x;
  float slope;
};

class NormConvTranspose3d {
 public:
  using Type = float;
  static constexpr const char* kName = "NormConvTranspose3d";
  static constexpr size_t kInputs = 10, kOptionalInputs = 4;
  static constexpr bool is_moments(size_t input) { return input == 6 || input == 9; }
  static constexpr bool is_parameter(size_t) { return false; }

  explicit NormConvTranspose3d(const OrtKernelInfo* info) : transposed_(info), norm_(info) {}

  NormConvTranspose3dCall arguments(const Ort::KernelContext& context) const {
    NormConvTranspose3dCall call{transposed_.arguments(context), {}, {}, norm_.slope_below_zero()};
    const ConvTranspose3dArgs& args = call.transposed.args;
    if (!args.skip) fail("skip: expected a tensor, got none");
    call.of_skip = norm_of_input(context, 4, norm_.epsilon, args.batch, args.skip_channels);
    if (has_input(context, 7)) call.of_x = norm_of_input(context, 7, norm_.epsilon, args.batch, args.in_channels);
    return call;
  }

  static void on_cpu(const NormConvTranspose3dCall& call, const cpu::Parallel& parallel) {
    ConvTranspose3dCall transposed = call.transposed;
    ConvTranspose3dArgs& a = transposed.args;
    const int64_t voxels = a.in[0] * a.in[1] * a.in[2], larger = voxels * a.kernel[0] * a.kernel[1] * a.kernel[2];
    const auto of_skip = cpu::normalisations(call.of_skip, a.skip, a.batch, a.skip_channels, larger, parallel);
    std::vector<Normalisation> of_x;
    if (call.of_x) of_x = cpu::normalisations(*call.of_x, a.x, a.batch, a.in_channels, voxels, parallel);
    a.skip_norm = {of_skip.data(), call.slope};
    a.norm = {call.of_x ? of_x.data() : nullptr, call.slope};
    ConvTranspose3d::on_cpu(transposed, parallel);
  }

 private:
  ConvTranspose3d transposed_;
  NormAttributes norm_;
};

}  // namespace

void add_conv_transpose3d(Ort::CustomOpDomain& domain) {
  add_on<ConvTranspose3d, Cpu>(domain);
  add_on<NormConvTranspose3d, Cpu>(domain);
}

}  // namespace msdk::ort
