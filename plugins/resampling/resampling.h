/* Resampling on the CPU, for ctypes: what nnU-Net's resample_data_or_seg computes, on the threads that the caller
   allows.

   Tensors are dense, in C order. Each call returns null, or a sentence that says what it was refused for. */
#pragma once

#include <stdint.h>

#include "shared_library.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MSDK_CLIP_NONE = 0, MSDK_CLIP_CHANNEL = 1, MSDK_CLIP_PLANE = 2 };

/* data (channels, *in) float32 to (channels, *out). Voxels have half-pixel centres and the edges repeat. order of each
   axis: 0 nearest, 1 linear, 3 the cubic spline through the voxels. clip: to the range of the channel, or of its plane
   along axis 0, whose order must then be 0. half: results are rounded to float16, and stay float32.

   A part along axis 0, with order 0 or 1 there and without clipping: `data` holds planes first_in, first_in + 1, ..
   of a volume of whole_in, in[0] of them, and results are planes first_out, .. of whole_out. The planes that these
   need must be there. whole_in = 0: no part, but all. */
typedef struct {
  int64_t channels;
  int64_t in[3];
  int64_t out[3];
  int32_t order[3];
  int32_t clip;
  int32_t half;
  int32_t threads;
  const float* data;
  int64_t whole_in;
  int64_t whole_out;
  int64_t first_in;
  int64_t first_out;
} MsdkResampling;

/* out (channels, *out) float32. */
MSDK_EXPORT const char* msdk_resample(const MsdkResampling* resampling, float* out);

/* labels (*out), of one byte each or two, from logits in `data` and values (channels): the value of the largest
   resampled logit, the first of equals; if `sigmoid`, the value of the last channel above 0, else 0. */
MSDK_EXPORT const char* msdk_resample_to_labels(const MsdkResampling* resampling, const int32_t* values,
                                                int32_t sigmoid, void* labels, int32_t bytes);

#ifdef __cplusplus
}
#endif
