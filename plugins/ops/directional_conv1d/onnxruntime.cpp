#include "ops/directional_conv1d/onnxruntime.h"

#include "onnxruntime/checks.h"
#include "onnxruntime/cuda.h"
#include "ops/directional_conv1d/cpu.h"
#include "ops/directional_conv1d/cuda.h"

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
void DirectionalConv1d<T>::on_cpu(const DirectionalConv1dArgs<float>& args, const cpu::Parallel& parallel) {
  cpu::directional_conv1d(args, parallel);
}

#ifdef MSDK_CUDA
template <class T>
const char* DirectionalConv1d<T>::on_cuda(const DirectionalConv1dArgs<T>& args, const Ort::KernelContext& context) {
  return cuda::directional_conv1d(args, stream_of(context));
}
#else
template <class T>
const char* DirectionalConv1d<T>::on_cuda(const DirectionalConv1dArgs<T>&, const Ort::KernelContext&) {
  return kNoCuda;
}
#endif

template class DirectionalConv1d<float>;
template class DirectionalConv1d<Half>;
}  // namespace msdk::ort
