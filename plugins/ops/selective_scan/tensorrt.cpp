#include "ops/selective_scan/cuda.h"
#include "tensorrt/plugin.h"

namespace msdk::tensorrt {
namespace {

enum Input { kU, kXDbl, kDtWeight, kDtBias, kA, kDSkip, kZ };

class BidirectionalSelectiveScan {
 public:
  static constexpr const char* kName = "BidirectionalSelectiveScan";
  static constexpr InputSpec kInputs[] = {{"u", Role::kData},
                                          {"x_dbl", Role::kData},
                                          {"dt_weight", Role::kParameter},
                                          {"dt_bias", Role::kParameter},
                                          {"A", Role::kParameter},
                                          {"D_skip", Role::kParameter},
                                          {"z", Role::kData}};
  static constexpr int kOptionalInputs = 1;
  static constexpr const char* kOutput = "y";

  explicit BidirectionalSelectiveScan(Fields& fields) : directions_(fields), scale_(fields.number("scale", 1.0f)) {}

  std::vector<nvinfer1::PluginField> fields() const { return {directions_.field(), number_field("scale", scale_)}; }

  void check(const nvinfer1::Dims* in, int count) const {
    const int64_t K = directions_.list.count;
    expect_shape("u", in[kU], {kAny, K, kAny, kAny});
    const int64_t batch = in[kU].d[0], channels = in[kU].d[2], length = in[kU].d[3];
    expect_shape("dt_weight", in[kDtWeight], {K, channels, kAny});
    expect_shape("dt_bias", in[kDtBias], {K, channels});
    expect_shape("A", in[kA], {K, channels, kAny});
    expect_shape("D_skip", in[kDSkip], {K, channels});
    const int64_t rank = in[kDtWeight].d[2], states = in[kA].d[2];
    expect_between("states of A", states, 1, kMaxStates);
    const int64_t most_rank = channels == kAny ? INT32_MAX : std::clamp<int64_t>(channels, 64, INT32_MAX);
    expect_between("dt_rank of dt_weight", rank, 1, most_rank);
    expect_between("tokens of u", length, 1, INT32_MAX);
    const int64_t rows = rank == kAny || states == kAny ? kAny : rank + 2 * states;
    expect_shape("x_dbl", in[kXDbl], {batch, K, rows, length});
    if (count > kZ) expect_shape("z", in[kZ], {batch, channels, length});
    expect_tokens(directions_.list, length);
  }

  std::vector<OutputSize> output() const { return {{kU, 0}, {kU, 2}, {kU, 3}}; }

  template <class T>
  size_t workspace(const nvinfer1::Dims* in, int) const {
    return cuda::selective_scan_workspace(sizes<T>(in));
  }

  template <class T>
  const char* enqueue(const Call& call) const {
    SelectiveScanArgs<T> args = sizes<T>(call.shapes);
    if (!call.workspace && cuda::selective_scan_workspace(args) > 0) return "expected a workspace, got none";
    args.u = static_cast<const T*>(call.inputs[kU]);
    args.x_dbl = static_cast<const T*>(call.inputs[kXDbl]);
    args.dt_weight = static_cast<const float*>(call.inputs[kDtWeight]);
    args.dt_bias = static_cast<const float*>(call.inputs[kDtBias]);
    args.A = static_cast<const float*>(call.inputs[kA]);
    args.D_skip = static_cast<const float*>(call.inputs[kDSkip]);
    args.z = call.count > kZ ? static_cast<const T*>(call.inputs[kZ]) : nullptr;
    args.y = static_cast<T*>(call.output);
    return cuda::selective_scan(args, call.workspace, call.stream);
  }

 private:
  template <class T>
  SelectiveScanArgs<T> sizes(const nvinfer1::Dims* in) const {
    SelectiveScanArgs<T> args{};
    args.batch = in[kU].d[0];
    args.channels = in[kU].d[2];
    args.length = in[kU].d[3];
    args.states = static_cast<int>(in[kA].d[2]);
    args.dt_rank = static_cast<int>(in[kDtWeight].d[2]);
    args.directions = directions_.list;
    args.scale = scale_;
    return args;
  }

  Directions directions_;
  float scale_;
};

}  // namespace

nvinfer1::IPluginCreatorInterface* selective_scan_creator() {
  static Creator<BidirectionalSelectiveScan> creator;
  return &creator;
}

}  // namespace msdk::tensorrt
