#include "isa.h"

#define MSDK_LANES 16
namespace msdk::cpu::avx512 {
#include "isa_kernels.inc"
MSDK_EXPORT_KERNELS("avx512")
}  // namespace msdk::cpu::avx512
