#include "ops/directional_conv1d/cuda.h"

#include "c_abi.h"

using namespace msdk;

EXPORT const char* directional_conv1d(int is_half, int64_t batch, int64_t channels, int64_t length, int width,
                                      const char* directions, const void* x, const float* weight, const float* bias,
                                      void* u) {
  DirectionList list;
  const std::string problem = c_abi::read_directions(directions, length, list);
  if (!problem.empty()) return c_abi::report(problem);
  const char* refused =
      is_half ? cuda::directional_conv1d<Half>({batch, channels, length, width, list, static_cast<const Half*>(x),
                                                weight, bias, static_cast<Half*>(u)},
                                               nullptr)
              : cuda::directional_conv1d<float>({batch, channels, length, width, list, static_cast<const float*>(x),
                                                 weight, bias, static_cast<float*>(u)},
                                                nullptr);
  return refused ? c_abi::report(refused) : nullptr;
}
