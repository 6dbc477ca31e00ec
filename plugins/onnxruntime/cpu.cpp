#include "onnxruntime/cpu.h"

#include <thread>

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

}  // namespace

cpu::Parallel pool_of(const Ort::KernelContext& context) {
  static const int threads = processors();
  const auto run = [](void* pool, cpu::Parallel::Body body, size_t total, void* data) {
    static_cast<const Ort::KernelContext*>(pool)->ParallelFor(body, total, 0, data);
  };
  return {run, const_cast<Ort::KernelContext*>(&context), threads};
}

}  // namespace msdk::ort
