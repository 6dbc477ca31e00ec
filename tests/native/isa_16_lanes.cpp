#include "cpu/isa.h"

#define MSDK_LANES 16
#define MSDK_ISA_NAME "lanes16"
namespace msdk::cpu::lanes16 {
#include "cpu/isa_kernels.inc"
}  // namespace msdk::cpu::lanes16
