// A block that has been started: its threads, where each stands, and its shared memory.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "emulator.h"
#include "fiber_context.h"

namespace cuda_emulator {

enum class State { ready, at_barrier, at_collective, exited };

struct Fiber : Thread {
  explicit Fiber(void (*entry)()) : context(entry) {}

  FiberContext context;
  State state = State::ready;
  Site site{};
  WarpOp op{};
  unsigned mask = 0;
  int source = 0;
  uint64_t value = 0;
};

struct SharedAllocation {
  const void* key;
  void* memory;
  size_t bytes;
};

// The threads of a warp that a mask names.
using Group = std::pair<int, unsigned>;

struct RunningBlock : Block {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::deque<int> ready;
  int alive = 0, at_barrier = 0;
  uint64_t barrier_sum = 0, barrier_result = 0;
  size_t shared_bytes = 0;
  std::vector<SharedAllocation> shared;
  char barrier = 0;  // a place where what happened is told, as are the next
  std::map<Group, char> warp_barriers;
};

}  // namespace cuda_emulator
