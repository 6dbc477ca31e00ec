#include "ops/kan_linear/cuda.h"

#include "c_abi.h"

using namespace msdk;

EXPORT const char* kan_linear(int is_half, int64_t batch, int64_t in_channels, int64_t out_channels, int64_t length,
                              int bases, float grid_min, float grid_max, const void* x, const float* base_weight,
                              const float* spline_weight, void* y) {
  const char* refused =
      is_half
          ? cuda::kan_linear<Half>({batch, in_channels, out_channels, length, bases, grid_min, grid_max,
                                    static_cast<const Half*>(x), base_weight, spline_weight, static_cast<Half*>(y)},
                                   nullptr)
          : cuda::kan_linear<float>({batch, in_channels, out_channels, length, bases, grid_min, grid_max,
                                     static_cast<const float*>(x), base_weight, spline_weight, static_cast<float*>(y)},
                                    nullptr);
  return refused ? c_abi::report(refused) : nullptr;
}
