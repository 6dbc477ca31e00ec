#include "ops/token_norm/cuda.h"

#include "c_abi.h"

using namespace msdk;

EXPORT const char* token_norm(int is_half, int64_t batch, int64_t channels, int64_t length, float epsilon,
                              const void* x, const float* weight, const float* bias, void* y) {
  const char* refused =
      is_half
          ? cuda::token_norm<Half>(
                {batch, channels, length, epsilon, static_cast<const Half*>(x), weight, bias, static_cast<Half*>(y)},
                nullptr)
          : cuda::token_norm<float>(
                {batch, channels, length, epsilon, static_cast<const float*>(x), weight, bias, static_cast<float*>(y)},
                nullptr);
  return refused ? c_abi::report(refused) : nullptr;
}
