#include "cpu_ops.h"

#include <thread>

#include "../scan/cpu/ops.h"
#include "../scan/directions.h"
#include "checks.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace msdk::ort {
namespace {

// The processors this process may use: ONNX Runtime does not tell an op how many threads its pool has.
int processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned count = std::thread::hardware_concurrency();
  return count ? static_cast<int>(count) : 1;
}

// ONNX Runtime's own thread pool.
cpu::Parallel pool_of(const Ort::KernelContext& context) {
  static const int threads = processors();
  const auto run = [](void* pool, cpu::Parallel::Body body, size_t total, void* data) {
    static_cast<const Ort::KernelContext*>(pool)->ParallelFor(body, total, 0, data);
  };
  return {run, const_cast<Ort::KernelContext*>(&context), threads};
}

void check_at_most(const char* what, int64_t value, int64_t most) {
  if (value < 1 || value > most) {
    fail(std::string(what) + ": expected 1 to " + std::to_string(most) + ", got " + std::to_string(value));
  }
}

void check_tokens(const DirectionList& directions, int64_t length) {
  const std::string problem = check_directions(directions, length);
  if (!problem.empty()) fail(problem);
}

}  // namespace

DirectionalConv1d::DirectionalConv1d(const OrtKernelInfo* info) : directions_(directions_attribute(info)) {}

void DirectionalConv1d::compute(const Ort::KernelContext& context) const {
  const int64_t K = directions_.count;
  const Input x = float_input(context, 0, "x", {kAny, kAny, kAny});
  const Input weight = float_input(context, 1, "weight", {K, x[1], kAny});
  const Input bias = float_input(context, 2, "bias", {K, x[1]});
  check_at_most("width of weight", weight[2], kMaxConvWidth);
  check_tokens(directions_, x[2]);

  DirectionalConv1dArgs<float> args{};
  args.batch = x[0];
  args.channels = x[1];
  args.length = x[2];
  args.width = static_cast<int>(weight[2]);
  args.directions = directions_;
  args.x = x.data;
  args.weight = weight.data;
  args.bias = bias.data;
  args.u = float_output(context, {x[0], K, x[1], x[2]});
  cpu::directional_conv1d(args, pool_of(context));
}

BidirectionalSelectiveScan::BidirectionalSelectiveScan(const OrtKernelInfo* info)
    : directions_(directions_attribute(info)), scale_(float_attribute(info, "scale", 1.0f)) {}

void BidirectionalSelectiveScan::compute(const Ort::KernelContext& context) const {
  const int64_t K = directions_.count;
  const Input u = float_input(context, 0, "u", {kAny, K, kAny, kAny});
  const int64_t batch = u[0], channels = u[2], length = u[3];
  const Input dt_weight = float_input(context, 2, "dt_weight", {K, channels, kAny});
  const Input dt_bias = float_input(context, 3, "dt_bias", {K, channels});
  const Input A = float_input(context, 4, "A", {K, channels, kAny});
  const Input D_skip = float_input(context, 5, "D_skip", {K, channels});
  check_at_most("states of A", A[2], kMaxStates);
  check_at_most("dt_rank of dt_weight", dt_weight[2], channels > 64 ? channels : 64);
  const Input x_dbl = float_input(context, 1, "x_dbl", {batch, K, dt_weight[2] + 2 * A[2], length});
  check_tokens(directions_, length);
  for (int64_t i = 0; i < K * channels * A[2]; ++i) {
    if (!(A.data[i] <= 0.0f)) fail("A: expected -exp(A_log), at most 0, got " + std::to_string(A.data[i]));
  }

  SelectiveScanArgs<float> args{};
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
  if (has_input(context, 6)) args.z = float_input(context, 6, "z", {batch, channels, length}).data;
  args.y = float_output(context, {batch, channels, length});
  cpu::selective_scan(args, pool_of(context));
}

KanLinear::KanLinear(const OrtKernelInfo* info)
    : grid_min_(float_attribute(info, "grid_min", -1.0f)), grid_max_(float_attribute(info, "grid_max", 1.0f)) {
  if (!(grid_min_ < grid_max_)) {
    fail("grid_min must be below grid_max, got " + std::to_string(grid_min_) + " and " + std::to_string(grid_max_));
  }
}

void KanLinear::compute(const Ort::KernelContext& context) const {
  const Input x = float_input(context, 0, "x", {kAny, kAny, kAny});
  const Input base = float_input(context, 1, "base_weight", {kAny, x[1]});
  const Input spline = float_input(context, 2, "spline_weight", {base[0], x[1], kAny});
  if (spline[2] < 4) fail("spline_weight: expected at least 4 bases, got " + std::to_string(spline[2]));
  check_at_most("bases of spline_weight", spline[2], kMaxSplineBases);

  KanLinearArgs<float> args{};
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
  args.y = float_output(context, {x[0], base[0], x[2]});
  cpu::kan_linear(args, pool_of(context));
}

}  // namespace msdk::ort
