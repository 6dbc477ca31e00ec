#include "ops.h"

#include "../scan/cuda/ops.h"
#include "checks.h"

namespace msdk::ort {

template <class T>
DirectionalConv1d<T>::DirectionalConv1d(const OrtKernelInfo* info) : directions_(directions_attribute(info)) {}

template <class T>
DirectionalConv1dArgs<T> DirectionalConv1d<T>::arguments(const Ort::KernelContext& context) const {
  const int64_t K = directions_.count;
  const auto x = input<T>(context, 0, "x", {kAny, kAny, kAny});
  const auto weight = input<float>(context, 1, "weight", {K, x[1], kAny});
  const auto bias = input<float>(context, 2, "bias", {K, x[1]});
  check_at_most("width of weight", weight[2], kMaxConvWidth);
  check_tokens(directions_, x[2]);

  DirectionalConv1dArgs<T> args{};
  args.batch = x[0];
  args.channels = x[1];
  args.length = x[2];
  args.width = static_cast<int>(weight[2]);
  args.directions = directions_;
  args.x = x.data;
  args.weight = weight.data;
  args.bias = bias.data;
  args.u = output<T>(context, {x[0], K, x[1], x[2]});
  return args;
}

template <class T>
BidirectionalSelectiveScan<T>::BidirectionalSelectiveScan(const OrtKernelInfo* info)
    : directions_(directions_attribute(info)), scale_(float_attribute(info, "scale", 1.0f)) {}

template <class T>
SelectiveScanArgs<T> BidirectionalSelectiveScan<T>::arguments(const Ort::KernelContext& context) const {
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

template <class T>
KanLinear<T>::KanLinear(const OrtKernelInfo* info)
    : grid_min_(float_attribute(info, "grid_min", -1.0f)), grid_max_(float_attribute(info, "grid_max", 1.0f)) {
  if (!(grid_min_ < grid_max_)) {
    fail("grid_min must be below grid_max, got " + std::to_string(grid_min_) + " and " + std::to_string(grid_max_));
  }
}

template <class T>
KanLinearArgs<T> KanLinear<T>::arguments(const Ort::KernelContext& context) const {
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

template class DirectionalConv1d<float>;
template class DirectionalConv1d<Half>;
template class BidirectionalSelectiveScan<float>;
template class BidirectionalSelectiveScan<Half>;
template class KanLinear<float>;
template class KanLinear<Half>;

}  // namespace msdk::ort
