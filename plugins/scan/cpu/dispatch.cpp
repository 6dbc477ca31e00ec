#include <cstdlib>
#include <cstring>

#include "kernels.h"

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

namespace {

const Kernels& choose() {
  const Kernels* available[3];
  int count = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
    available[count++] = &avx512::kKernels;
  }
  if (avx2) available[count++] = &avx2::kKernels;
#endif
  available[count++] = &baseline::kKernels;
  if (const char* wanted = std::getenv("MSDK_RT_CPU_KERNELS")) {
    for (int i = 0; i < count; ++i) {
      if (std::strcmp(available[i]->name, wanted) == 0) return *available[i];
    }
  }
  return *available[0];
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace msdk::cpu
