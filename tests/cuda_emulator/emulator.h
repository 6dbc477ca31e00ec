// Runs CUDA kernels on the CPU. Every thread of a block is a fiber (ucontext); barriers and warp collectives are
// switches between fibers, so a kernel's ordinary C++ runs under AddressSanitizer and UBSan. A misuse that CUDA leaves
// undefined (a barrier that some thread never reaches, a shuffle from a lane that takes no part, more shared memory
// than every GPU has) is reported with file and line, and the process aborts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <type_traits>

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace cuda_emulator {

// Launch order: blocks in sequence, threads in ascending order. Shuffled: four blocks at a time are resident,
// taken in random order, and whichever of their threads is ready may run next. Default: launch order, or what the
// environment variable CUDA_EMULATOR_SEED says (0 is launch order).
void run_in_launch_order();
void run_shuffled(uint64_t seed);

constexpr int kWarpSize = 32;
constexpr size_t kMaxSharedBytes = 48 * 1024;  // what a launch gets on every GPU without asking for more

// Does not compile with bounds that some GPU cannot keep. An alignment of the kernel's code, of no matter, is what can
// stand where they do.
template <int threads, int blocks = 1>
struct LaunchBounds {
  static_assert(threads > 0 && threads % kWarpSize == 0, "launch bounds are of whole warps");
  static_assert(threads * blocks <= 1024, "launch bounds are at most the 1024 threads of an SM of sm_75");
  static constexpr int kAlignment = 16;
};

struct Site {
  const char* file;
  int line;
};

struct Block;

struct Thread {
  uint3 index;
  Block* block;
};

struct Block {
  uint3 index;
  dim3 block_dim, grid_dim;
  void* dynamic_shared;
};

extern Thread* running;  // the thread whose fiber runs now

// A lane's contribution to a warp collective: the result is `value` of lane `source`, or the bits of all lanes
// together.
enum class WarpOp { sync, shuffle, ballot };
uint64_t warp_collective(WarpOp op, unsigned mask, uint64_t value, int source, Site site);

void block_barrier(Site site);
uint64_t block_barrier_count(uint64_t value, Site site);  // the sum of `value` over the threads that arrived
void let_others_run();                                    // other blocks too, when shuffled
void atomic_access(void* address);                        // what the running thread's atomic on it tells and hears
void fence();

void* shared_memory(const void* key, size_t bytes);  // of the running thread's block; new memory is poisoned

template <class T>
T& shared(const void* key) {
  static_assert(std::is_trivially_copyable_v<T>, "shared memory is not constructed");
  return *static_cast<T*>(shared_memory(key, sizeof(T)));
}

// Null, or what the launch was refused for.
const char* launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel);

[[noreturn]] void fail(Site site, const char* format, ...) __attribute__((format(printf, 2, 3)));

int lane();

}  // namespace cuda_emulator
