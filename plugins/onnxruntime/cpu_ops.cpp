#include "cpu_ops.h"

#include <thread>

#include "../scan/cpu/ops.h"
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

}  // namespace

void Cpu::run(const Ort::KernelContext& context, const DirectionalConv1dArgs<float>& args) {
  cpu::directional_conv1d(args, pool_of(context));
}

void Cpu::run(const Ort::KernelContext& context, const SelectiveScanArgs<float>& args) {
  for (int64_t i = 0; i < args.directions.count * args.channels * args.states; ++i) {
    if (!(args.A[i] <= 0.0f)) fail("A: expected -exp(A_log), at most 0, got " + std::to_string(args.A[i]));
  }
  cpu::selective_scan(args, pool_of(context));
}

void Cpu::run(const Ort::KernelContext& context, const KanLinearArgs<float>& args) {
  cpu::kan_linear(args, pool_of(context));
}

void Cpu::run(const Ort::KernelContext& context, const Conv3dCall& call) {
  const std::vector<float> packed = call.packed ? std::vector<float>() : cpu::pack_conv3d(call.args);
  cpu::conv3d(call.args, call.packed ? call.packed : packed.data(), pool_of(context));
}

void Cpu::run(const Ort::KernelContext& context, const TokenNormArgs& args) { cpu::token_norm(args, pool_of(context)); }

void Cpu::run(const Ort::KernelContext& context, const TrilinearUpsampleArgs& args) {
  cpu::trilinear_upsample(args, pool_of(context));
}

}  // namespace msdk::ort
