#include "isa.h"

#define MSDK_LANES 4
namespace msdk::cpu::baseline {
#include "isa_kernels.inc"
MSDK_EXPORT_KERNELS("baseline")
}  // namespace msdk::cpu::baseline
