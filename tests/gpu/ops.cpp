// The CUDA ops on arrays in device memory, for tests/gpu/op_checks.py. Each call returns null or what is wrong, in a
// buffer that the next call overwrites.
#include "ops/directional_conv1d/cuda.h"
#include "ops/instance_norm/cuda.h"
#include "ops/kan_linear/cuda.h"
#include "ops/selective_scan/cuda.h"
#include "ops/token_norm/cuda.h"

#include <string>

#include "ops/directions.h"

#define CHECK_API extern "C" __attribute__((visibility("default")))

namespace {

using namespace msdk;

const char* report(const std::string& problem) {
  static std::string last;
  last = problem;
  return last.empty() ? nullptr : last.c_str();
}

struct InstanceNorm {
  int64_t batch, channels, voxels;
  float epsilon;
  int activation;
  float slope;
  const void* x;
  const float *weight, *bias;
  const void* addend;
  void *y, *workspace;
};

template <class T>
InstanceNormArgs<T> arguments_of(const InstanceNorm& norm) {
  return {norm.batch,
          norm.channels,
          norm.voxels,
          norm.epsilon,
          static_cast<Activation>(norm.activation),
          norm.slope,
          static_cast<const T*>(norm.x),
          norm.weight,
          norm.bias,
          static_cast<const T*>(norm.addend),
          static_cast<T*>(norm.y)};
}

struct ScanSizes {
  int64_t batch, channels, length;
  int states, dt_rank;
  const char* directions;
  float scale;
};

struct ScanTensors {
  const void *u, *x_dbl;
  const float *dt_weight, *dt_bias, *A, *D_skip;
  const void* z;
  void *y, *workspace;
};

template <class T>
std::string fill(const ScanSizes& sizes, SelectiveScanArgs<T>& args) {
  args.batch = sizes.batch;
  args.channels = sizes.channels;
  args.length = sizes.length;
  args.states = sizes.states;
  args.dt_rank = sizes.dt_rank;
  args.scale = sizes.scale;
  const std::string problem = parse_directions(sizes.directions, args.directions);
  return problem.empty() ? check_directions(args.directions, sizes.length) : problem;
}

template <class T>
const char* scan(const ScanSizes& sizes, const ScanTensors& tensors, cuda::Stream stream) {
  SelectiveScanArgs<T> args{};
  const std::string problem = fill(sizes, args);
  if (!problem.empty()) return report(problem);
  args.u = static_cast<const T*>(tensors.u);
  args.x_dbl = static_cast<const T*>(tensors.x_dbl);
  args.dt_weight = tensors.dt_weight;
  args.dt_bias = tensors.dt_bias;
  args.A = tensors.A;
  args.D_skip = tensors.D_skip;
  args.z = static_cast<const T*>(tensors.z);
  args.y = static_cast<T*>(tensors.y);
  return cuda::selective_scan(args, tensors.workspace, stream);
}

template <class T>
size_t workspace(const ScanSizes& sizes) {
  SelectiveScanArgs<T> args{};
  return fill(sizes, args).empty() ? cuda::selective_scan_workspace(args) : 0;
}

template <class T>
const char* conv(const int64_t* sizes, const char* directions, const void* x, const float* weight, const float* bias,
                 void* u, cuda::Stream stream) {
  DirectionalConv1dArgs<T> args{sizes[0], sizes[1], sizes[2], static_cast<int>(sizes[3]), {}, nullptr,
                                weight,   bias,     nullptr};
  const std::string problem = parse_directions(directions, args.directions);
  if (!problem.empty()) return report(problem);
  args.x = static_cast<const T*>(x);
  args.u = static_cast<T*>(u);
  return cuda::directional_conv1d(args, stream);
}

template <class T>
const char* kan(const int64_t* sizes, float grid_min, float grid_max, const void* x, const float* base,
                const float* spline, void* y, cuda::Stream stream) {
  return cuda::kan_linear<T>({sizes[0], sizes[1], sizes[2], sizes[3], static_cast<int>(sizes[4]), grid_min, grid_max,
                              static_cast<const T*>(x), base, spline, static_cast<T*>(y)},
                             stream);
}

template <class T>
const char* token_norm(const int64_t* sizes, float epsilon, const void* x, const float* weight, const float* bias,
                       void* y, cuda::Stream stream) {
  return cuda::token_norm<T>(
      {sizes[0], sizes[1], sizes[2], epsilon, static_cast<const T*>(x), weight, bias, static_cast<T*>(y)}, stream);
}

}  // namespace

CHECK_API size_t check_scan_workspace(int half, const ScanSizes* sizes) {
  return half ? workspace<Half>(*sizes) : workspace<float>(*sizes);
}

CHECK_API const char* check_scan(int half, const ScanSizes* sizes, const ScanTensors* tensors, cuda::Stream stream) {
  return half ? scan<Half>(*sizes, *tensors, stream) : scan<float>(*sizes, *tensors, stream);
}

// sizes: batch, channels, length, width.
CHECK_API const char* check_conv(int half, const int64_t* sizes, const char* directions, const void* x,
                                 const float* weight, const float* bias, void* u, cuda::Stream stream) {
  return (half ? conv<Half> : conv<float>)(sizes, directions, x, weight, bias, u, stream);
}

// sizes: batch, in_channels, out_channels, length, bases.
CHECK_API const char* check_kan(int half, const int64_t* sizes, float grid_min, float grid_max, const void* x,
                                const float* base, const float* spline, void* y, cuda::Stream stream) {
  return (half ? kan<Half> : kan<float>)(sizes, grid_min, grid_max, x, base, spline, y, stream);
}

// sizes: batch, channels, length.
CHECK_API const char* check_token_norm(int half, const int64_t* sizes, float epsilon, const void* x,
                                       const float* weight, const float* bias, void* y, cuda::Stream stream) {
  return (half ? token_norm<Half> : token_norm<float>)(sizes, epsilon, x, weight, bias, y, stream);
}

CHECK_API size_t check_instance_norm_workspace(int half, const InstanceNorm* norm) {
  return half ? cuda::instance_norm_workspace(arguments_of<Half>(*norm))
              : cuda::instance_norm_workspace(arguments_of<float>(*norm));
}

CHECK_API const char* check_instance_norm(int half, const InstanceNorm* norm, cuda::Stream stream) {
  return half ? cuda::instance_norm(arguments_of<Half>(*norm), norm->workspace, stream)
              : cuda::instance_norm(arguments_of<float>(*norm), norm->workspace, stream);
}
