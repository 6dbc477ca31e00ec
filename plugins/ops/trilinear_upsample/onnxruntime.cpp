#include "ops/trilinear_upsample/onnxruntime.h"

#include "onnxruntime/checks.h"
#include "ops/trilinear_upsample/cpu.h"

namespace msdk::ort {
namespace {

constexpr const char* kAxes[] = {"x along depth", "x along height", "x along width"};

}  // namespace

template <class T>
TrilinearUpsampleArgs TrilinearUpsample<T>::arguments(const Ort::KernelContext& context) const {
  const auto x = input<T>(context, 0, "x", {kAny, kAny, kAny, kAny, kAny});
  for (size_t axis = 0; axis < 3; ++axis) check_at_most(kAxes[axis], x[axis + 2], INT32_MAX);
  TrilinearUpsampleArgs args{x[0], x[1], {x[2], x[3], x[4]}, x.data, nullptr, nullptr};
  const auto doubled = {x[0], x[1], 2 * x[2], 2 * x[3], 2 * x[4]};
  if (has_input(context, 1)) args.addend = input<T>(context, 1, "addend", doubled).data;
  args.y = output<T>(context, doubled);
  return args;
}

template <class T>
void TrilinearUpsample<T>::on_cpu(const TrilinearUpsampleArgs& args, const cpu::Parallel& parallel) {
  cpu::trilinear_upsample(args, parallel);
}

template class TrilinearUpsample<float>;

}  // namespace msdk::ort
