#include <cmath>

#include "volume/grid.cuh"
#include "volume/volume.h"

namespace msdk::volume {
namespace {

template <class Label>
__global__ void label_largest(const float* logits, const int32_t* values, int64_t classes, int64_t voxels,
                              Label* labels) {
  const int64_t i = element();
  if (i >= voxels) return;
  float best = logits[i];
  int32_t value = values[0];
  for (int64_t k = 1; k < classes; ++k) {
    const float logit = logits[k * voxels + i];
    if (logit > best) value = values[k];
    if (logit > best || std::isnan(logit)) best = logit;  // nothing is above a NaN
  }
  labels[i] = static_cast<Label>(value);
}

template <class Label>
__global__ void label_last_above_zero(const float* logits, const int32_t* values, int64_t classes, int64_t voxels,
                                      Label* labels) {
  const int64_t i = element();
  if (i >= voxels) return;
  int32_t value = 0;
  for (int64_t k = 0; k < classes; ++k) {
    if (logits[k * voxels + i] > 0) value = values[k];
  }
  labels[i] = static_cast<Label>(value);
}

__global__ void softmax(float* logits, int64_t classes, int64_t voxels) {
  const int64_t i = element();
  if (i >= voxels) return;
  float largest = logits[i], sum = 0;
  for (int64_t k = 1; k < classes; ++k) largest = fmaxf(largest, logits[k * voxels + i]);
  for (int64_t k = 0; k < classes; ++k) {
    float& logit = logits[k * voxels + i];
    logit = expf(logit - largest);
    sum += logit;
  }
  for (int64_t k = 0; k < classes; ++k) logits[k * voxels + i] /= sum;
}

// tanh saturates where exp would overflow.
__global__ void sigmoid_of_each(float* logits, int64_t elements) {
  const int64_t i = element();
  if (i < elements) logits[i] = 0.5f * (tanhf(0.5f * logits[i]) + 1.0f);
}

template <class Label>
const char* launch_labels(const float* logits, const int32_t* values, int64_t classes, int64_t voxels, bool sigmoid,
                          void* labels, void* stream) {
  const auto kernel = sigmoid ? label_last_above_zero<Label> : label_largest<Label>;
  return launch_elements(voxels, stream, kernel, logits, values, classes, voxels, static_cast<Label*>(labels));
}

}  // namespace
}  // namespace msdk::volume

using namespace msdk::volume;

const char* msdk_volume_labels(const float* logits, const int32_t* values, int64_t classes, int64_t voxels, int sigmoid,
                               void* labels, int bytes, void* stream) {
  if (classes < 1) return "labels: expected at least 1 class";
  if (bytes != 1 && bytes != 2) return "labels: expected 1 or 2 bytes a label";
  const auto launch = bytes == 1 ? launch_labels<uint8_t> : launch_labels<uint16_t>;
  return launch(logits, values, classes, voxels, sigmoid != 0, labels, stream);
}

const char* msdk_volume_probabilities(float* logits, int64_t classes, int64_t voxels, int sigmoid, void* stream) {
  if (classes < 1) return "probabilities: expected at least 1 class";
  const int64_t elements = msdk::cuda::product({classes, voxels});
  if (sigmoid) return launch_elements(elements, stream, sigmoid_of_each, logits, elements);
  return launch_elements(voxels, stream, softmax, logits, classes, voxels);
}
