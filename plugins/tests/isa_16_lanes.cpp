#include "isa.h"

#define MSDK_LANES 16
namespace msdk::cpu::lanes16 {
#include "isa_kernels.inc"
MSDK_EXPORT_KERNELS("lanes16")
}  // namespace msdk::cpu::lanes16
