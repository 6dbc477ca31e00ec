#include "cpu/isa.h"

#define MSDK_LANES 16
#define MSDK_ISA_NAME "avx512"
namespace msdk::cpu::avx512 {
#include "cpu/isa_kernels.inc"
}  // namespace msdk::cpu::avx512
