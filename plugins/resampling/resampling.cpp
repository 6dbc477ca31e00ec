#include "resampling/resampling.h"

#include <limits>
#include <new>

#include "resampling/axis.h"
#include "resampling/cpu.h"
#include "resampling/pool.h"

namespace {

using namespace msdk;

const char* refusal_of_part(const MsdkResampling& r) {
  if (r.order[0] > 1 || r.clip != MSDK_CLIP_NONE) return "a part needs order 0 or 1 along axis 0, and no clipping";
  const int64_t sides[][3] = {{r.first_in, r.in[0], r.whole_in}, {r.first_out, r.out[0], r.whole_out}};
  for (const auto& [first, count, whole] : sides) {
    if (whole < 1 || whole > std::numeric_limits<int32_t>::max()) return "a side is below 1 or above 2^31 - 1";
    if (first < 0 || first > whole - count) return "a part reaches beyond the whole";
  }
  const bool complete =
      cpu::Axis(r.in[0], r.out[0], r.order[0], {r.whole_in, r.whole_out, r.first_in, r.first_out}).complete();
  return complete ? nullptr : "the data of a part lacks planes that its results need";
}

const char* refusal(const MsdkResampling& r) {
  if (r.channels < 1) return "there is no channel";
  if (r.threads < 1) return "a thread is needed at least";
  for (int axis = 0; axis < 3; ++axis) {
    for (const int64_t side : {r.in[axis], r.out[axis]}) {
      if (side < 1 || side > std::numeric_limits<int32_t>::max()) return "a side is below 1 or above 2^31 - 1";
    }
    if (r.order[axis] != 0 && r.order[axis] != 1 && r.order[axis] != 3) return "an order is none of 0, 1, 3";
  }
  if (r.clip < MSDK_CLIP_NONE || r.clip > MSDK_CLIP_PLANE) return "clip is none of 0, 1, 2";
  if (r.clip == MSDK_CLIP_PLANE && r.order[0] != 0) return "clipping to planes needs order 0 along axis 0";
  return r.whole_in == 0 ? nullptr : refusal_of_part(r);
}

ResamplingArgs args_of(const MsdkResampling& r) {
  return {r.channels,
          {r.in[0], r.in[1], r.in[2]},
          {r.out[0], r.out[1], r.out[2]},
          {r.order[0], r.order[1], r.order[2]},
          static_cast<Clip>(r.clip),
          r.half != 0,
          r.data,
          {r.whole_in, r.whole_out, r.first_in, r.first_out}};
}

template <class Work>
const char* guarded(const MsdkResampling& resampling, Work&& work) {
  try {
    if (const char* sentence = refusal(resampling)) return sentence;
    cpu::Pool pool(resampling.threads);
    return work(args_of(resampling), pool.parallel())
               ? nullptr
               : "a voxel is NaN or infinite, and a spline of order 3 would spread it: repair the volume first";
  } catch (const std::bad_alloc&) {
    return "there is not enough memory";
  }
}

}  // namespace

const char* msdk_resample(const MsdkResampling* resampling, float* out) {
  return guarded(*resampling, [&](const ResamplingArgs& args, const cpu::Parallel& parallel) {
    return cpu::resample(args, out, parallel);
  });
}

const char* msdk_resample_to_labels(const MsdkResampling* resampling, const int32_t* values, int32_t sigmoid,
                                    void* labels, int32_t bytes) {
  if (bytes != 1 && bytes != 2) return "a label has one byte or two";
  return guarded(*resampling, [&](const ResamplingArgs& args, const cpu::Parallel& parallel) {
    return cpu::resample_to_labels(args, {values, sigmoid != 0, labels, bytes}, parallel);
  });
}
