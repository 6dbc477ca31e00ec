/* Sums of weighted windows in float16, for ctypes: what nnU-Net adds up on a CPU. Each number is a float32 that float16
   can hold, and every result is rounded to the nearest of those, of equally near ones to the even. */
#pragma once

#include <stdint.h>

#include "shared_library.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A box (channels, planes, rows, width) of a larger tensor, whose rows are dense; steps are in numbers. */
typedef struct {
  int64_t channels, planes, rows, width;
  int64_t channel_step, plane_step, row_step;
  float* sums;
  int32_t threads;
} MsdkSums;

/* sums += values * weights: products in float32, sums rounded to float16. values (channels, planes, rows, width) and
   weights (planes, rows, width) are dense. Returns 0 where a value or a sum is not finite, else 1. */
MSDK_EXPORT int32_t msdk_add_in_half(const MsdkSums* box, const float* values, const float* weights);

/* sums /= by (planes, rows, width), which is dense. Returns 0 where a result is not finite, else 1. */
MSDK_EXPORT int32_t msdk_divide_in_half(const MsdkSums* box, const float* by);

#ifdef __cplusplus
}
#endif
