#include <cmath>

#include "volume/grid.cuh"
#include "volume/volume.h"

namespace msdk::volume {
namespace {

struct Box {
  int64_t volume[3], window[3];
};

int64_t voxels_of(const int64_t (&sides)[3]) { return cuda::product({sides[0], sides[1], sides[2]}); }

Box box_of(const MsdkWindows& plan) {
  Box box;
  for (int axis = 0; axis < 3; ++axis) {
    box.volume[axis] = plan.volume[axis];
    box.window[axis] = plan.window[axis];
  }
  return box;
}

// The voxel of the volume under voxel `inside` of a window, or -1 where the window reaches beyond it.
__device__ int64_t voxel_under(const Box& box, const int64_t* start, int64_t inside) {
  const int64_t w = start[2] + inside % box.window[2];
  const int64_t h = start[1] + inside / box.window[2] % box.window[1];
  const int64_t d = start[0] + inside / box.window[2] / box.window[1];
  const bool within = d >= 0 && d < box.volume[0] && h >= 0 && h < box.volume[1] && w >= 0 && w < box.volume[2];
  return within ? (d * box.volume[1] + h) * box.volume[2] + w : -1;
}

// The voxel that `inside` comes from when a window is mirrored along the axes of `mirror`; and the other way round.
__device__ int64_t mirrored(const Box& box, int mirror, int64_t inside) {
  const int64_t* const side = box.window;
  int64_t w = inside % side[2], h = inside / side[2] % side[1], d = inside / side[2] / side[1];
  if (mirror & MSDK_MIRROR_W) w = side[2] - 1 - w;
  if (mirror & MSDK_MIRROR_H) h = side[1] - 1 - h;
  if (mirror & MSDK_MIRROR_D) d = side[0] - 1 - d;
  return (d * side[1] + h) * side[2] + w;
}

__device__ void store(float* to, float value) { *to = value; }
__device__ void store(__half* to, float value) { *to = __float2half_rn(value); }
__device__ float load(const float* from) { return *from; }
__device__ float load(const __half* from) { return __half2float(*from); }

template <class T>
__global__ void gather(Box box, const int64_t* starts, int64_t channels, int64_t inside, int64_t outside,
                       int64_t elements, int mirror, const float* volume, T* windows) {
  const int64_t i = element();
  if (i >= elements) return;
  const int64_t* const start = starts + 3 * (i / inside / channels);
  const int64_t voxel = voxel_under(box, start, mirrored(box, mirror, i % inside));
  store(windows + i, voxel < 0 ? 0.0f : volume[i / inside % channels * outside + voxel]);
}

__global__ void add_mirrored(Box box, int mirror, int64_t inside, int64_t elements, const float* logits, float* sum) {
  const int64_t i = element();
  if (i < elements) sum[i] += logits[i - i % inside + mirrored(box, mirror, i % inside)];
}

// A float32 number, or the float16 one next to it.
__device__ float kept(float value, bool half) { return half ? __half2float(__float2half_rn(value)) : value; }

// One window: no two threads meet in a voxel. Products and sums are rounded one by one, as on the host.
template <class T>
__global__ void accumulate(Box box, const int64_t* start, int64_t channels, int64_t inside, int64_t outside,
                           float views, const T* logits, const float* weights, bool half, float* total,
                           float* weight_sum, int32_t* not_finite) {
  const int64_t i = element();
  if (i >= inside) return;
  const int64_t voxel = voxel_under(box, start, i);
  const float weight = weights[i];
  bool finite = true;
  for (int64_t channel = 0; channel < channels; ++channel) {
    const float logit = load(logits + channel * inside + i) / views;
    finite = finite && std::isfinite(logit);
    if (voxel < 0) continue;
    float& sum = total[channel * outside + voxel];
    sum = kept(__fadd_rn(sum, __fmul_rn(logit, weight)), half);
  }
  if (voxel >= 0) weight_sum[voxel] = kept(__fadd_rn(weight_sum[voxel], weight), half);
  if (!finite) atomicExch(not_finite, 1);
}

__global__ void divide(float* total, const float* weight_sum, int64_t voxels, int64_t elements, bool half,
                       int32_t* not_finite) {
  const int64_t i = element();
  if (i >= elements) return;
  total[i] = kept(total[i] / weight_sum[i % voxels], half);
  if (half && !std::isfinite(total[i])) atomicExch(not_finite, 1);
}

// elements: of one fold.
__global__ void average(float* total, int64_t folds, int64_t elements, bool half, int32_t* not_finite) {
  const int64_t i = element();
  if (i >= elements) return;
  float sum = total[i];
  for (int64_t fold = 1; fold < folds; ++fold) sum = kept(__fadd_rn(sum, total[fold * elements + i]), half);
  total[i] = kept(sum / static_cast<float>(folds), half);
  if (half && !std::isfinite(total[i])) atomicExch(not_finite, 1);
}

const char* check(const MsdkWindows& plan, int type) {
  bool positive = plan.channels > 0 && plan.count > 0;
  for (int axis = 0; axis < 3; ++axis) positive = positive && plan.volume[axis] > 0 && plan.window[axis] > 0;
  if (!positive) return "windows: expected sides, channels and count of at least 1";
  if (type != MSDK_FLOAT32 && type != MSDK_FLOAT16) return "windows: expected type MSDK_FLOAT32 or MSDK_FLOAT16";
  return nullptr;
}

const char* check_sums(int sums) {
  return sums != MSDK_FLOAT32 && sums != MSDK_FLOAT16 ? "windows: expected sums MSDK_FLOAT32 or MSDK_FLOAT16" : nullptr;
}

const char* check(int mirror) {
  return mirror & ~(MSDK_MIRROR_D | MSDK_MIRROR_H | MSDK_MIRROR_W) ? "windows: expected mirror of 0 to 7" : nullptr;
}

template <class T>
const char* launch_gather(const MsdkWindows& plan, const float* volume, int mirror, void* windows, void* stream) {
  const int64_t inside = voxels_of(plan.window), elements = cuda::product({plan.count, plan.channels, inside});
  return launch_elements(elements, stream, gather<T>, box_of(plan), plan.starts, plan.channels, inside,
                         voxels_of(plan.volume), elements, mirror, volume, static_cast<T*>(windows));
}

template <class T>
const char* launch_accumulate(const MsdkWindows& plan, const void* logits, int views, const float* weights, bool half,
                              float* total, float* weight_sum, int32_t* not_finite, void* stream) {
  const int64_t inside = voxels_of(plan.window);
  for (int64_t i = 0; i < plan.count; ++i) {
    const T* const window = static_cast<const T*>(logits) + i * plan.channels * inside;
    const char* const refused = launch_elements(
        inside, stream, accumulate<T>, box_of(plan), plan.starts + 3 * i, plan.channels, inside, voxels_of(plan.volume),
        static_cast<float>(views), window, weights, half, total, weight_sum, not_finite + i);
    if (refused) return refused;
  }
  return nullptr;
}

}  // namespace
}  // namespace msdk::volume

using namespace msdk::volume;

const char* msdk_volume_gather(const MsdkWindows* plan, const float* volume, int mirror, void* windows, int type,
                               void* stream) {
  if (const char* problem = check(mirror)) return problem;
  if (const char* problem = check(*plan, type)) return problem;
  const auto launch = type == MSDK_FLOAT16 ? launch_gather<__half> : launch_gather<float>;
  return launch(*plan, volume, mirror, windows, stream);
}

const char* msdk_volume_add_mirrored(const MsdkWindows* plan, const float* logits, int mirror, float* sum,
                                     void* stream) {
  if (const char* problem = check(mirror)) return problem;
  if (const char* problem = check(*plan, MSDK_FLOAT32)) return problem;
  const int64_t inside = voxels_of(plan->window);
  const int64_t elements = msdk::cuda::product({plan->count, plan->channels, inside});
  return launch_elements(elements, stream, add_mirrored, box_of(*plan), mirror, inside, elements, logits, sum);
}

const char* msdk_volume_accumulate(const MsdkWindows* plan, const void* logits, int type, int views,
                                   const float* weights, int sums, float* total, float* weight_sum, int32_t* not_finite,
                                   void* stream) {
  if (views < 1) return "windows: expected at least 1 view";
  if (const char* problem = check_sums(sums)) return problem;
  if (const char* problem = check(*plan, type)) return problem;
  const auto launch = type == MSDK_FLOAT16 ? launch_accumulate<__half> : launch_accumulate<float>;
  return launch(*plan, logits, views, weights, sums == MSDK_FLOAT16, total, weight_sum, not_finite, stream);
}

const char* msdk_volume_divide(float* total, const float* weight_sum, int64_t folds, int64_t channels, int64_t voxels,
                               int sums, int32_t* not_finite, void* stream) {
  if (folds < 1) return "windows: expected at least 1 fold";
  if (const char* problem = check_sums(sums)) return problem;
  const bool half = sums == MSDK_FLOAT16;
  const int64_t of_fold = msdk::cuda::product({channels, voxels}), elements = msdk::cuda::product({folds, of_fold});
  const char* const refused =
      launch_elements(elements, stream, divide, total, weight_sum, voxels, elements, half, not_finite);
  if (refused || folds == 1) return refused;
  return launch_elements(of_fold, stream, average, total, folds, of_fold, half, not_finite);
}
