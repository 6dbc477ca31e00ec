// The kernels that an op runs on, unless it is told which.
#pragma once

namespace msdk::cpu {

struct Kernels;  // kernels.h

// The fastest set. The environment variable MSDK_RT_CPU_KERNELS (avx512, avx2, baseline) asks for another of those
// available; any other value is ignored.
const Kernels& kernels();

}  // namespace msdk::cpu
