#include "isa.h"

#define MSDK_LANES 8
namespace msdk::cpu::avx2 {
#include "isa_kernels.inc"
MSDK_EXPORT_KERNELS("avx2")
}  // namespace msdk::cpu::avx2
