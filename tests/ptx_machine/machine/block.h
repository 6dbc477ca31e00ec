// A block that runs: its threads as fibers, what is known of their order, and its shared memory.
#pragma once

#include <ucontext.h>

#include <array>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "thread.h"

namespace ptx_machine {

// A launch that a kernel's fault has ended.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Launch {
  const Kernel* kernel;
  Index grid, block;
  uint32_t dynamic_bytes;
  std::vector<uint8_t> parameters;
  uint32_t first_run;  // the number of its first block among all that ever ran

  uint32_t shared_bytes(uint32_t variable) const {
    const SharedVariable& of = kernel->shared[variable];
    return of.dynamic ? dynamic_bytes : of.bytes;
  }
};

// One access, by the block's clock, which a barrier moves on. Time 0: there was none.
struct Access {
  uint32_t thread = 0, time = 0;
};

// Which accesses of other threads are over when a thread makes its next: those before a barrier that both came to.
class Order {
 public:
  explicit Order(uint32_t threads) : known_(threads) {}

  uint32_t now() const { return now_; }
  uint32_t last_block_barrier() const { return last_block_barrier_; }
  void block_barrier() { last_block_barrier_ = now_++; }
  // `threads`: all of one warp.
  void warp_barrier(const std::vector<uint32_t>& threads);

  bool is_over(Access access, const Thread& for_thread) const {
    if (access.thread == for_thread.number || access.time <= last_block_barrier_) return true;
    if (access.thread / kWarp != for_thread.warp()) return false;
    return access.time <= known_[for_thread.number][access.thread % kWarp];
  }

 private:
  uint32_t now_ = 1, last_block_barrier_ = 0;
  std::vector<std::array<uint32_t, kWarp>> known_;  // [thread][lane of its warp]: up to when
};

// Four bytes of shared memory, or as many as the kernel's smallest access has: who wrote them, and who has read since.
struct SharedGranule {
  uint32_t run = 0;  // of the block whose marks these are
  Access written;
  uint32_t reading_warp = 0, read_since = 0, readers = 0;  // readers: lanes
  bool other_warps_read = false;
  std::array<uint32_t, kWarp> read_at;
};

struct SharedMemory {
  struct Variable {
    std::vector<uint8_t> bytes;
    std::vector<SharedGranule> granules;
  };
  std::vector<Variable> variables;

  void begin_launch(const Launch& launch);
  void begin_block();  // bytes nobody wrote are NaN
};

enum class Waiting { kNot, kAtBlockBarrier, kAtWarpBarrier, kShuffling, kEnded };

struct Fiber {
  ucontext_t context;
  Thread thread;
  Waiting waiting;
  uint32_t mask, value, source;  // of a warp barrier or a shuffle; source: the lane whose value it takes
};

struct Block {
  const Launch* launch;
  uint32_t run;  // its number among all blocks that ever ran
  Order order;
  SharedMemory* shared;
  Fiber* fibers;
  uint32_t threads, alive;  // alive: of them, how many have not ended
  std::vector<uint32_t> ready;
};

// Runs one block to its end, its threads in random order. Throws Fault.
void run_block(const Launch& launch, uint64_t number, uint32_t run, SharedMemory& shared, std::mt19937_64& random);

// The sentence of a fault: what happened, and in which kernel, block, thread and instruction.
std::string sentence_of(const Thread& thread, const std::string& what);

}  // namespace ptx_machine
