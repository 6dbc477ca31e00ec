#include "ops/directional_conv1d/cuda.h"
#include "tensorrt/plugin.h"

namespace msdk::tensorrt {
namespace {

class DirectionalConv1d {
 public:
  static constexpr const char* kName = "DirectionalConv1d";
  static constexpr InputSpec kInputs[] = {{"x", Role::kData}, {"weight", Role::kParameter}, {"bias", Role::kParameter}};
  static constexpr int kOptionalInputs = 0;
  static constexpr const char* kOutput = "u";

  explicit DirectionalConv1d(Fields& fields) : directions_(fields) {}

  std::vector<nvinfer1::PluginField> fields() const { return {directions_.field()}; }

  void check(const nvinfer1::Dims* in, int) const {
    const int64_t K = directions_.list.count;
    const nvinfer1::Dims &x = in[0], &weight = in[1], &bias = in[2];
    expect_shape("x", x, {kAny, kAny, kAny});
    expect_shape("weight", weight, {K, x.d[1], kAny});
    expect_shape("bias", bias, {K, x.d[1]});
    expect_between("width of weight", weight.d[2], 1, kMaxConvWidth);
    expect_tokens(directions_.list, x.d[2]);
  }

  std::vector<OutputSize> output() const { return {{0, 0}, {-1, 0, directions_.list.count}, {0, 1}, {0, 2}}; }

  template <class T>
  size_t workspace(const nvinfer1::Dims*, int) const {
    return 0;
  }

  template <class T>
  const char* enqueue(const Call& call) const {
    DirectionalConv1dArgs<T> args{};
    args.batch = call.shapes[0].d[0];
    args.channels = call.shapes[0].d[1];
    args.length = call.shapes[0].d[2];
    args.width = static_cast<int>(call.shapes[1].d[2]);
    args.directions = directions_.list;
    args.x = static_cast<const T*>(call.inputs[0]);
    args.weight = static_cast<const float*>(call.inputs[1]);
    args.bias = static_cast<const float*>(call.inputs[2]);
    args.u = static_cast<T*>(call.output);
    return cuda::directional_conv1d(args, call.stream);
  }

 private:
  Directions directions_;
};

}  // namespace

nvinfer1::IPluginCreatorInterface* directional_conv1d_creator() {
  static Creator<DirectionalConv1d> creator;
  return &creator;
}

}  // namespace msdk::tensorrt
