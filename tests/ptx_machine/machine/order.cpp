#include <algorithm>

#include "block.h"

namespace ptx_machine {

void Order::warp_barrier(const std::vector<uint32_t>& threads) {
  std::array<uint32_t, kWarp> together{};
  for (const uint32_t thread : threads)
    for (uint32_t lane = 0; lane < kWarp; ++lane) together[lane] = std::max(together[lane], known_[thread][lane]);
  for (const uint32_t thread : threads) together[thread % kWarp] = now_;
  for (const uint32_t thread : threads) known_[thread] = together;
  ++now_;
}

}  // namespace ptx_machine
