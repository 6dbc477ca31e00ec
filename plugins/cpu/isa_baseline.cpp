#include "cpu/isa.h"

#define MSDK_LANES 4
#define MSDK_ISA_NAME "baseline"
namespace msdk::cpu::baseline {
#include "cpu/isa_kernels.inc"
}  // namespace msdk::cpu::baseline
