// Sums in float16: what an instruction set offers for it. C headers only, see cpu/isa.h.
#pragma once

#include <cstdint>

namespace msdk::cpu {

// Sums are float32 numbers that float16 can hold, and are rounded to those. False where a value or a result is not
// finite.
struct SumsKernels {
  bool (*add_row)(float* sums, const float* values, const float* weights, int64_t width);  // += values * weights
  bool (*divide_row)(float* sums, const float* by, int64_t width);                         // /= by
};

}  // namespace msdk::cpu
