#include "cpu/isa.h"

#define MSDK_LANES 8
#define MSDK_ISA_NAME "avx2"
namespace msdk::cpu::avx2 {
#include "cpu/isa_kernels.inc"
}  // namespace msdk::cpu::avx2
