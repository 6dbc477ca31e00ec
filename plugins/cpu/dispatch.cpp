#include <cstdlib>
#include <cstring>

#include "cpu/kernels.h"

namespace msdk::cpu {

#if defined(__x86_64__)
namespace avx512 {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
#endif
namespace baseline {
extern const Kernels kKernels;
}

KernelSets available_kernels() {
  KernelSets sets;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
    sets.items[sets.count++] = &avx512::kKernels;
  }
  if (avx2) sets.items[sets.count++] = &avx2::kKernels;
#endif
  sets.items[sets.count++] = &baseline::kKernels;
  return sets;
}

const Kernels& kernels() {
  static const Kernels& chosen = []() -> const Kernels& {
    const KernelSets sets = available_kernels();
    if (const char* wanted = std::getenv("MSDK_RT_CPU_KERNELS")) {
      for (int i = 0; i < sets.count; ++i) {
        if (std::strcmp(sets.items[i]->name, wanted) == 0) return *sets.items[i];
      }
    }
    return *sets.items[0];
  }();
  return chosen;
}

}  // namespace msdk::cpu
