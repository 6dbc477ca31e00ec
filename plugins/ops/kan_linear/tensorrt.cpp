#include "ops/kan_linear/cuda.h"
#include "tensorrt/plugin.h"

namespace msdk::tensorrt {
namespace {

class KanLinear {
 public:
  static constexpr const char* kName = "KanLinear";
  static constexpr InputSpec kInputs[] = {
      {"x", Role::kData}, {"base_weight", Role::kParameter}, {"spline_weight", Role::kParameter}};
  static constexpr int kOptionalInputs = 0;
  static constexpr const char* kOutput = "y";

  explicit KanLinear(Fields& fields)
      : grid_min_(fields.number("grid_min", -1.0f)), grid_max_(fields.number("grid_max", 1.0f)) {
    if (!(grid_min_ < grid_max_)) {
      fail("expected grid_min below grid_max, got " + std::to_string(grid_min_) + " and " + std::to_string(grid_max_));
    }
  }

  std::vector<nvinfer1::PluginField> fields() const {
    return {number_field("grid_min", grid_min_), number_field("grid_max", grid_max_)};
  }

  void check(const nvinfer1::Dims* in, int) const {
    const nvinfer1::Dims &x = in[0], &base_weight = in[1], &spline_weight = in[2];
    expect_shape("x", x, {kAny, kAny, kAny});
    expect_shape("base_weight", base_weight, {kAny, x.d[1]});
    expect_shape("spline_weight", spline_weight, {base_weight.d[0], x.d[1], kAny});
    expect_between("bases of spline_weight", spline_weight.d[2], 4, kMaxSplineBases);
  }

  std::vector<OutputSize> output() const { return {{0, 0}, {1, 0}, {0, 2}}; }

  template <class T>
  size_t workspace(const nvinfer1::Dims*, int) const {
    return 0;
  }

  template <class T>
  const char* enqueue(const Call& call) const {
    KanLinearArgs<T> args{};
    args.batch = call.shapes[0].d[0];
    args.in_channels = call.shapes[0].d[1];
    args.out_channels = call.shapes[1].d[0];
    args.length = call.shapes[0].d[2];
    args.bases = static_cast<int>(call.shapes[2].d[2]);
    args.grid_min = grid_min_;
    args.grid_max = grid_max_;
    args.x = static_cast<const T*>(call.inputs[0]);
    args.base_weight = static_cast<const float*>(call.inputs[1]);
    args.spline_weight = static_cast<const float*>(call.inputs[2]);
    args.y = static_cast<T*>(call.output);
    return cuda::kan_linear(args, call.stream);
  }

 private:
  float grid_min_, grid_max_;
};

}  // namespace

nvinfer1::IPluginCreatorInterface* kan_linear_creator() {
  static Creator<KanLinear> creator;
  return &creator;
}

}  // namespace msdk::tensorrt
