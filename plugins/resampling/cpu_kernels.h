// Resampling: what an instruction set offers for it. C headers only, see cpu/isa.h.
#pragma once

#include <cstdint>

#include "resampling/args.h"

namespace msdk::cpu {

// Up to kLanes rows, from `row` on, of plane `plane` of a channel's resampled volume.
struct ResamplingTile {
  const float* source;  // the channel's voxels, or spline coefficients along the axes that take them
  const AxisTable* axes;
  int64_t plane, row;
  float low, high;  // results are clipped to it
  bool half;
};

struct ResamplingKernels {
  int64_t (*scratch)(const AxisTable* axes);  // bytes that any of these needs

  // The least and the greatest of `count` > 0 values; false if one is not finite.
  bool (*range)(const float* values, int64_t count, float* low, float* high);

  // Spline coefficients down the columns of `count` rows of `width` floats, `stride` apart; in and out may be the same.
  void (*filter_columns)(const float* in, float* out, int64_t count, int64_t stride, int64_t width);

  // Spline coefficients along each of `count` rows of `width` floats, in place.
  void (*filter_rows)(float* rows, int64_t count, int64_t width, float* scratch);

  // out: the volume's plane.
  void (*values)(const ResamplingTile&, float* out, float* scratch);

  // To be called for channel 0, 1, .. of the same rows with the same scratch; then store_labels.
  void (*compare)(const ResamplingTile&, int64_t channel, int32_t value, bool sigmoid, float* scratch);
  void (*store_labels)(const ResamplingTile&, void* plane, int bytes, float* scratch);
};

}  // namespace msdk::cpu
