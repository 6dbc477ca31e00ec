/* Volumes on an NVIDIA GPU, around the network: normalise, cut windows, blend, label. Each function does there what
   the runtime does in NumPy: msdk_rt/inference/normalisation.py, windows.py and labels.py.

   A C interface that ctypes can call. Pointers in the arguments are device memory, tensors dense with the last axis
   fastest, volumes (channels, depth, height, width). Every call only enqueues work on `stream` (a cudaStream_t): no
   allocation, no synchronisation, so it can be captured in a CUDA graph. The order of every sum follows from the sizes
   alone: results are the same bit for bit on every run. Each call returns null, or a sentence that says what it was
   refused for. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MSDK_VOLUME_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

enum { MSDK_FLOAT32 = 0, MSDK_FLOAT16 = 1 };
enum { MSDK_MIRROR_D = 1, MSDK_MIRROR_H = 2, MSDK_MIRROR_W = 4 };

/* A volume's axes, a window's sides, and `count` windows at `starts` (count, 3) in the volume's voxels: a start may be
   negative and a window may reach beyond the volume, where its voxels are zero and its logits are not used. */
typedef struct {
  int64_t channels;
  int64_t volume[3];
  int64_t window[3];
  int64_t count;
  const int64_t* starts;
} MsdkWindows;

/* Null where the driver can run these kernels or there is no driver, else a sentence: to be asked for before any other
   call. */
MSDK_VOLUME_API const char* msdk_volume_driver_problem(void);

/* Scratch memory for msdk_volume_normalize, 256-byte aligned. */
MSDK_VOLUME_API size_t msdk_volume_normalize_workspace(int64_t channels, int64_t voxels);

/* Z-score of every channel over its nonzero voxels, population standard deviation, sums in float64; zero voxels stay
   zero, and a channel whose nonzero voxels are all equal becomes zero. volume and normalized may be the same. */
MSDK_VOLUME_API const char* msdk_volume_normalize(const float* volume, float* normalized, int64_t channels,
                                                  int64_t voxels, void* workspace, void* stream);

/* not_finite (channels, 2) int64 += how many NaN and how many infinities each channel of volume (channels, voxels)
   holds. */
MSDK_VOLUME_API const char* msdk_volume_count_not_finite(const float* volume, int64_t channels, int64_t voxels,
                                                         int64_t* not_finite, void* stream);

/* windows (count, channels, *window) of `type`, from volume (channels, *volume) float32; each mirrored along the axes
   of `mirror`: MSDK_MIRROR_D, _H and _W together, or 0. */
MSDK_VOLUME_API const char* msdk_volume_gather(const MsdkWindows* plan, const float* volume, int mirror, void* windows,
                                               int type, void* stream);

/* sum (count, channels, *window) += logits of the same shape, mirrored back: those of windows that
   msdk_volume_gather mirrored so. Both float32. */
MSDK_VOLUME_API const char* msdk_volume_add_mirrored(const MsdkWindows* plan, const float* logits, int mirror,
                                                     float* sum, void* stream);

/* total (channels, *volume) += logits / views * weights and weight_sum (*volume) += weights, window after window in
   float32, each sum rounded to what `sums` can hold, MSDK_FLOAT32 or MSDK_FLOAT16, and kept as float32; logits (count,
   channels, *window) of `type`, the sum over `views` mirrored views, weights (*window) float32. not_finite (count)
   int32: becomes 1 where a window's logits hold a NaN or an infinity, and is otherwise left as it was. */
MSDK_VOLUME_API const char* msdk_volume_accumulate(const MsdkWindows* plan, const void* logits, int type, int views,
                                                   const float* weights, int sums, float* total, float* weight_sum,
                                                   int32_t* not_finite, void* stream);

/* total (folds, channels, voxels) /= weight_sum (voxels); of several folds the mean then takes the first one's place.
   Quotients and sums are rounded to what `sums` can hold. not_finite: becomes 1 where a quotient or a mean of
   MSDK_FLOAT16 is not finite. */
MSDK_VOLUME_API const char* msdk_volume_divide(float* total, const float* weight_sum, int64_t folds, int64_t channels,
                                               int64_t voxels, int sums, int32_t* not_finite, void* stream);

/* labels (voxels), of one byte each or two, from logits (classes, voxels) and values (classes) int32: the value of the
   largest logit, the first of equals; if `sigmoid`, the value of the last class with a logit above 0, else 0. */
MSDK_VOLUME_API const char* msdk_volume_labels(const float* logits, const int32_t* values, int64_t classes,
                                               int64_t voxels, int sigmoid, void* labels, int bytes, void* stream);

/* logits (classes, voxels) become probabilities: softmax over the classes; if `sigmoid`, that of each. */
MSDK_VOLUME_API const char* msdk_volume_probabilities(float* logits, int64_t classes, int64_t voxels, int sigmoid,
                                                      void* stream);

#ifdef __cplusplus
}
#endif
