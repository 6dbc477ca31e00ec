#include "emulator.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <new>
#include <numeric>
#include <random>
#include <vector>

#include "running_block.h"

namespace cuda_emulator {

Thread* running = nullptr;

namespace {

constexpr size_t kResidentBlocks = 4;
constexpr long kMostIdleSwitches = 1'000'000;
constexpr size_t kSharedAlignment = 128;

uint64_t seed_of_environment() {
  const char* text = std::getenv("CUDA_EMULATOR_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 0;
}

uint64_t order_seed = seed_of_environment();

void fiber_main();

const std::function<void()>* running_kernel = nullptr;
long idle_switches = 0;
std::mt19937_64 rng;
char launch_ends;  // a place where the threads of all launches tell what they did

Fiber& self() { return *static_cast<Fiber*>(running); }
RunningBlock& block_of(Fiber& fiber) { return *static_cast<RunningBlock*>(fiber.block); }
int number_of(const Fiber& fiber) {
  const dim3 dim = fiber.block->block_dim;
  return static_cast<int>(fiber.index.x + dim.x * (fiber.index.y + dim.y * fiber.index.z));
}

void make_ready(RunningBlock& block, Fiber& fiber) {
  fiber.state = State::ready;
  block.ready.push_back(number_of(fiber));
}

// What each of these has done comes before what any does next. place: theirs alone.
void order(const std::vector<const Fiber*>& fibers, void* place) {
  for (const Fiber* fiber : fibers) fiber->context.history.all().tell(place);
  for (const Fiber* fiber : fibers) fiber->context.history.all().hear(place);
}

// Threads stand at the same barrier only if they came to it at the same place of the source.
void release_barrier_if_complete(RunningBlock& block) {
  if (block.alive == 0 || block.at_barrier < block.alive) return;
  const Fiber* first = nullptr;
  for (const auto& fiber : block.fibers) {
    if (fiber->state != State::at_barrier) continue;
    if (!first) first = fiber.get();
    if (fiber->site.line != first->site.line || std::strcmp(fiber->site.file, first->site.file) != 0) {
      fail(fiber->site, "thread %d is at this __syncthreads while thread %d is at the one of %s:%d", number_of(*fiber),
           number_of(*first), first->site.file, first->site.line);
    }
  }
  std::vector<const Fiber*> together;
  for (const auto& fiber : block.fibers) {
    if (fiber->state == State::at_barrier) together.push_back(fiber.get());
  }
  order(together, &block.barrier);
  block.barrier_result = block.barrier_sum;
  block.barrier_sum = 0;
  block.at_barrier = 0;
  for (const auto& fiber : block.fibers) {
    if (fiber->state == State::at_barrier) make_ready(block, *fiber);
  }
  idle_switches = 0;
}

// Completes a collective when every thread that `mask` names, and that has not exited, has arrived.
void complete_collective(RunningBlock& block, int warp, unsigned mask) {
  Fiber* lanes[kWarpSize] = {};
  uint64_t together = 0;
  unsigned arrived = 0;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const size_t number = static_cast<size_t>(warp * kWarpSize + lane);
    if (!(mask >> lane & 1) || number >= block.fibers.size()) continue;
    Fiber& fiber = *block.fibers[number];
    if (fiber.state == State::exited) continue;
    if (fiber.state != State::at_collective || fiber.mask != mask) return;
    lanes[lane] = &fiber;
    together |= fiber.value;
    arrived |= 1u << lane;
  }
  uint64_t results[kWarpSize] = {};
  const Fiber* first = nullptr;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (!lanes[lane]) continue;
    if (!first) first = lanes[lane];
    if (lanes[lane]->op != first->op) {
      fail(lanes[lane]->site, "lane %d is at this warp collective while another lane of its mask is at that of %s:%d",
           lane, first->site.file, first->site.line);
    }
    if (first->op == WarpOp::shuffle) {
      const int source = lanes[lane]->source;
      if (!(arrived >> source & 1)) {
        fail(lanes[lane]->site, "lane %d reads from lane %d, which takes no part in this shuffle", lane, source);
      }
      results[lane] = lanes[source]->value;
    } else {
      results[lane] = together;
    }
  }
  if (first && first->op == WarpOp::sync) {
    std::vector<const Fiber*> all;
    std::copy_if(lanes, lanes + kWarpSize, std::back_inserter(all), [](const Fiber* lane) { return lane; });
    order(all, &block.warp_barriers[{warp, mask}]);
  }
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (!lanes[lane]) continue;
    lanes[lane]->value = results[lane];
    make_ready(block, *lanes[lane]);
  }
  idle_switches = 0;
}

void end_thread(Fiber& fiber) {
  const Unseen here;
  RunningBlock& block = block_of(fiber);
  fiber.context.history.all().tell(&block.barrier);
  fiber.context.history.all().tell(&launch_ends);
  fiber.state = State::exited;
  --block.alive;
  idle_switches = 0;
  release_barrier_if_complete(block);
  const int warp = number_of(fiber) / kWarpSize;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const size_t number = static_cast<size_t>(warp * kWarpSize + lane);
    if (number < block.fibers.size() && block.fibers[number]->state == State::at_collective) {
      complete_collective(block, warp, block.fibers[number]->mask);
    }
  }
}

void fiber_main() {
  FiberContext::begin();
  (*running_kernel)();
  end_thread(self());
  self().context.end();
}

std::unique_ptr<RunningBlock> start_block(uint64_t number, dim3 grid, dim3 dim, size_t shared_bytes) {
  auto block = std::make_unique<RunningBlock>();
  block->index = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
                  static_cast<unsigned>(number / grid.x / grid.y)};
  block->grid_dim = grid;
  block->block_dim = dim;
  const int threads = static_cast<int>(dim.x * dim.y * dim.z);
  block->alive = threads;
  for (int i = 0; i < threads; ++i) {
    auto fiber = std::make_unique<Fiber>(fiber_main);
    const unsigned u = static_cast<unsigned>(i);
    fiber->index = {u % dim.x, u / dim.x % dim.y, u / dim.x / dim.y};
    fiber->block = block.get();
    block->ready.push_back(i);
    block->fibers.push_back(std::move(fiber));
  }
  block->dynamic_shared = nullptr;
  if (shared_bytes > 0) {
    block->dynamic_shared = ::operator new(shared_bytes, std::align_val_t(kSharedAlignment));
    std::memset(block->dynamic_shared, 0xff, shared_bytes);
    block->shared.push_back({nullptr, block->dynamic_shared, shared_bytes});
    block->shared_bytes = shared_bytes;
  }
  return block;
}

void end_block(RunningBlock& block) {
  for (const SharedAllocation& a : block.shared) ::operator delete(a.memory, std::align_val_t(kSharedAlignment));
}

[[noreturn]] void report_stuck(const RunningBlock& block) {
  const Fiber* first = nullptr;
  for (const auto& fiber : block.fibers) {
    if (fiber->state == State::exited || fiber->state == State::ready) continue;
    if (!first) first = fiber.get();
    std::fprintf(stderr, "cuda_emulator: block (%u, %u, %u), thread %d waits at %s:%d (%s)\n", block.index.x,
                 block.index.y, block.index.z, number_of(*fiber), fiber->site.file, fiber->site.line,
                 fiber->state == State::at_barrier ? "__syncthreads" : "warp collective");
  }
  fail(first->site, "threads of a block wait for one another and none can go on (divergent barrier?)");
}

// Runs one ready thread of the block until it waits, yields or ends. True while the block has threads left.
bool step(RunningBlock& block, bool shuffled) {
  if (block.ready.empty()) report_stuck(block);
  if (shuffled) std::swap(block.ready.front(), block.ready[rng() % block.ready.size()]);
  const int number = block.ready.front();
  block.ready.pop_front();
  if (++idle_switches > kMostIdleSwitches) {
    fail(block.fibers[static_cast<size_t>(number)]->site,
         "no thread of any resident block made progress: endless spin");
  }
  Fiber& fiber = *block.fibers[static_cast<size_t>(number)];
  running = &fiber;
  fiber.context.resume();
  running = nullptr;
  return block.alive > 0;
}

}  // namespace

void run_in_launch_order() { order_seed = 0; }
void run_shuffled(uint64_t seed) { order_seed = seed == 0 ? 1 : seed; }

int lane() {
  const Unseen here;
  return number_of(self()) % kWarpSize;
}

void fail(Site site, const char* format, ...) {
  std::fprintf(stderr, "cuda_emulator: %s:%d: ", site.file ? site.file : "?", site.line);
  std::va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "\n");
  std::abort();
}

void atomic_access(void* address) {
  const Unseen here;
  self().context.history.atomic(address);
}

void fence() {
  const Unseen here;
  self().context.history.fence();
}

uint64_t block_barrier_count(uint64_t value, Site site) {
  const Unseen here;
  Fiber& fiber = self();
  RunningBlock& block = block_of(fiber);
  fiber.state = State::at_barrier;
  fiber.site = site;
  ++block.at_barrier;
  block.barrier_sum += value;
  release_barrier_if_complete(block);
  fiber.context.wait();
  return block.barrier_result;
}

void block_barrier(Site site) { block_barrier_count(0, site); }

uint64_t warp_collective(WarpOp op, unsigned mask, uint64_t value, int source, Site site) {
  const Unseen here;
  Fiber& fiber = self();
  if (!(mask >> lane() & 1)) fail(site, "lane %d calls a warp collective whose mask %08x leaves it out", lane(), mask);
  fiber.state = State::at_collective;
  fiber.site = site;
  fiber.op = op;
  fiber.mask = mask;
  fiber.value = value;
  fiber.source = source;
  complete_collective(block_of(fiber), number_of(fiber) / kWarpSize, mask);
  fiber.context.wait();
  return fiber.value;
}

void let_others_run() {
  const Unseen here;
  Fiber& fiber = self();
  make_ready(block_of(fiber), fiber);
  fiber.context.wait();
}

void* shared_memory(const void* key, size_t bytes) {
  const Unseen here;
  RunningBlock& block = block_of(self());
  for (const SharedAllocation& a : block.shared) {
    if (a.key == key) return a.memory;
  }
  block.shared_bytes += bytes;
  if (block.shared_bytes > kMaxSharedBytes) {
    fail({__FILE__, __LINE__}, "a block uses %zu bytes of shared memory, every GPU has %zu", block.shared_bytes,
         kMaxSharedBytes);
  }
  void* memory = ::operator new(bytes, std::align_val_t(kSharedAlignment));
  std::memset(memory, 0xff, bytes);  // NaN, in float and in half
  block.shared.push_back({key, memory, bytes});
  return memory;
}

const char* launch(dim3 grid, dim3 dim, size_t shared_bytes, const std::function<void()>& kernel) {
  static std::mutex one_launch_at_a_time;
  const std::lock_guard<std::mutex> lock(one_launch_at_a_time);
  const Unseen here;
  const uint64_t threads = uint64_t{dim.x} * dim.y * dim.z;
  if (grid.x == 0 || grid.x > 0x7fffffffu || grid.y == 0 || grid.y > 65535 || grid.z == 0 || grid.z > 65535 ||
      threads == 0 || threads > 1024 || dim.z > 64) {
    return "invalid configuration argument";
  }
  if (shared_bytes > kMaxSharedBytes) return "too much shared memory";
  const uint64_t count = uint64_t{grid.x} * grid.y * grid.z;
  const bool shuffled = order_seed != 0;
  rng.seed(order_seed);
  // A shuffled start: `stride` is prime to the number of blocks, so each is started once.
  uint64_t stride = 1, first = 0;
  if (shuffled && count > 1) {
    first = rng() % count;
    do stride = 1 + rng() % count;
    while (std::gcd(stride, count) != 1);
  }
  running_kernel = &kernel;
  idle_switches = 0;
  std::vector<std::unique_ptr<RunningBlock>> resident;
  uint64_t started = 0;
  while (started < count || !resident.empty()) {
    while (started < count && resident.size() < (shuffled ? kResidentBlocks : 1)) {
      const uint64_t number = (first + static_cast<unsigned __int128>(started) * stride % count) % count;
      resident.push_back(start_block(number, grid, dim, shared_bytes));
      ++started;
    }
    const size_t chosen = shuffled ? rng() % resident.size() : 0;
    if (step(*resident[chosen], shuffled)) continue;
    end_block(*resident[chosen]);
    std::swap(resident[chosen], resident.back());
    resident.pop_back();
  }
  running_kernel = nullptr;
  hear(&launch_ends);
  return nullptr;
}

}  // namespace cuda_emulator
