// The arguments of resampling, and the tables that it follows along each axis. C headers only, see cpu/isa.h.
#pragma once

#include <cstdint>

namespace msdk {

// Ranges to which a resampled voxel is clipped: a spline of order 3 leaves that of its data, and scikit-image clips.
enum class Clip { kNone, kChannel, kPlane };  // of nothing; of the channel; of the channel's plane along axis 0

// A part along axis 0: data holds planes first_in, first_in + 1, .. of a volume of whole_in planes, in[0] of them, and
// results are planes first_out, .. of whole_out. Planes that are needed must be there; the order along axis 0 is 0 or 1
// and nothing is clipped. whole_in = 0: no part, but all.
struct Part {
  int64_t whole_in = 0, whole_out = 0, first_in = 0, first_out = 0;
};

// Volumes with half-pixel centres, edges repeated: output voxel i lies at (i + 1/2) in / out - 1/2. The order of an
// axis is 0 (nearest), 1 (linear) or 3 (the cubic spline through the voxels); where in equals out the axis stays as it
// is. kPlane needs an order of 0 along axis 0. half: results are rounded to float16, kept as float32.
struct ResamplingArgs {
  int64_t channels, in[3], out[3];  // depth, height, width
  int order[3];
  Clip clip;
  bool half;
  const float* data;  // (channels, *in)
  Part part{};
};

// What follows from the resampled voxels (channels, *out): a value for each voxel. Where sigmoid, the value of the last
// channel above 0, else 0; otherwise that of the largest channel, the first of equals.
struct LabelArgs {
  const int32_t* values;  // (channels)
  bool sigmoid;
  void* labels;  // (*out), of one byte each or two
  int bytes;
};

// Output voxel i of an axis is the sum over t of weight[i * count + t] times the voxel, or the spline coefficient,
// index[i * count + t].
struct AxisTable {
  int64_t in, out;
  int count;  // 1, 2 or 4
  const int32_t* index;
  const float* weight;
};

}  // namespace msdk
