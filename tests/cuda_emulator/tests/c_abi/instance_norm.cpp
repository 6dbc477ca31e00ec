#include "ops/instance_norm/cuda.h"

#include <vector>

#include "c_abi.h"

using namespace msdk;

namespace {

template <class T>
const char* run(int64_t batch, int64_t channels, int64_t voxels, float epsilon, int activation, float slope,
                const void* x, const float* weight, const float* bias, const void* addend, void* y) {
  const InstanceNormArgs<T> args{batch,
                                 channels,
                                 voxels,
                                 epsilon,
                                 static_cast<Activation>(activation),
                                 slope,
                                 static_cast<const T*>(x),
                                 weight,
                                 bias,
                                 static_cast<const T*>(addend),
                                 static_cast<T*>(y)};
  std::vector<double> workspace(cuda::instance_norm_workspace(args) / sizeof(double), -1.0);
  return cuda::instance_norm(args, workspace.data(), nullptr);
}

}  // namespace

EXPORT const char* instance_norm(int is_half, int64_t batch, int64_t channels, int64_t voxels, float epsilon,
                                 int activation, float slope, const void* x, const float* weight, const float* bias,
                                 const void* addend, void* y) {
  const char* refused = (is_half ? run<Half> : run<float>)(batch, channels, voxels, epsilon, activation, slope, x,
                                                           weight, bias, addend, y);
  return refused ? c_abi::report(refused) : nullptr;
}
