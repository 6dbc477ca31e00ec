#include "resampling/sums.h"

#include <atomic>

#include "cpu/kernels.h"
#include "resampling/pool.h"

namespace {

// f(row of sums, index of the dense row, index of the row among those of a channel) -> whether all was finite.
template <class F>
bool each_row(const MsdkSums& box, F&& f) {
  std::atomic<bool> finite{true};
  msdk::cpu::Pool pool(box.threads);
  pool.parallel()(box.channels * box.planes, [&](int64_t i) {
    const int64_t channel = i / box.planes, plane = i % box.planes;
    float* sums = box.sums + channel * box.channel_step + plane * box.plane_step;
    for (int64_t row = 0; row < box.rows; ++row) {
      if (!f(sums + row * box.row_step, i * box.rows + row, plane * box.rows + row)) finite = false;
    }
  });
  return finite;
}

}  // namespace

int32_t msdk_add_in_half(const MsdkSums* box, const float* values, const float* weights) {
  const auto& kernels = msdk::cpu::kernels().sums;
  const int64_t width = box->width;
  return each_row(*box, [&](float* sums, int64_t row, int64_t row_of_channel) {
    return kernels.add_row(sums, values + row * width, weights + row_of_channel * width, width);
  });
}

int32_t msdk_divide_in_half(const MsdkSums* box, const float* by) {
  const auto& kernels = msdk::cpu::kernels().sums;
  const int64_t width = box->width;
  return each_row(*box, [&](float* sums, int64_t, int64_t row_of_channel) {
    return kernels.divide_row(sums, by + row_of_channel * width, width);
  });
}
