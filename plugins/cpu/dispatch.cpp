#include <cstdlib>
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

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

#if defined(__x86_64__)
namespace {

struct Instructions {
  bool avx2 = false;    // with FMA
  bool avx512 = false;  // F and DQ
};

// What the processor has and the system keeps the registers of. The compilers' __builtin_cpu_supports is not asked: it
// is always false in what Zig links, whose runtime leaves its table empty.
Instructions instructions() {
  Instructions found;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_FMA)) return found;
  unsigned kept = 0, high = 0;
  __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
  constexpr unsigned kYmm = 0x06, kZmm = 0xe6;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  found.avx2 = (kept & kYmm) == kYmm && (b & bit_AVX2);
  found.avx512 = found.avx2 && (kept & kZmm) == kZmm && (b & bit_AVX512F) && (b & bit_AVX512DQ);
  return found;
}

}  // namespace
#endif

KernelSets available_kernels() {
  KernelSets sets;
#if defined(__x86_64__)
  const Instructions found = instructions();
  if (found.avx512) sets.items[sets.count++] = &avx512::kKernels;
  if (found.avx2) sets.items[sets.count++] = &avx2::kKernels;
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
