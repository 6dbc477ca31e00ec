// Runs a block: each thread is a fiber that runs until it waits; which of those that can go on goes on is random.
#include "block.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "collectives.h"

namespace ptx_machine {
namespace {

constexpr size_t kStackBytes = 256 << 10, kGuardBytes = 4096;

ucontext_t scheduler;
Fiber* running = nullptr;
std::string fault_of_running;  // empty while there is none

void* new_stack() {
  void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) throw std::bad_alloc();
  return static_cast<char*>(memory) + kGuardBytes;
}

void back_to_scheduler() { swapcontext(&running->context, &scheduler); }

void make_ready(Block& block, Fiber& fiber) {
  fiber.waiting = Waiting::kNot;
  block.ready.push_back(fiber.thread.number);
}

std::vector<Fiber*> waiting_at_block_barrier(Block& block) {
  std::vector<Fiber*> there;
  for (uint32_t i = 0; i < block.threads; ++i)
    if (block.fibers[i].waiting == Waiting::kAtBlockBarrier) there.push_back(&block.fibers[i]);
  return there;
}

// Lets the threads go on when all that have not ended are at the barrier, and at the same one.
void release_block_barrier(Block& block) {
  const std::vector<Fiber*> there = waiting_at_block_barrier(block);
  if (there.empty() || there.size() < block.alive) return;
  for (const Fiber* fiber : there) {
    if (fiber->thread.at != there[0]->thread.at)
      fault(fiber->thread, "threads of a block wait at different barriers: thread %u at line %u",
            there[0]->thread.number, block.launch->kernel->instructions[there[0]->thread.at].line);
  }
  block.order.block_barrier();
  for (Fiber* fiber : there) make_ready(block, *fiber);
}

// The lanes of the mask that have not ended, or nothing where one of them has not come.
std::vector<Fiber*> lanes_together(Block& block, uint32_t warp, uint32_t mask, Waiting waiting) {
  std::vector<Fiber*> lanes;
  for (uint32_t lane = 0; lane < kWarp; ++lane) {
    const uint32_t number = warp * kWarp + lane;
    if (!(mask >> lane & 1) || number >= block.threads) continue;
    Fiber& fiber = block.fibers[number];
    if (fiber.waiting == Waiting::kEnded) continue;
    if (fiber.waiting != waiting || fiber.mask != mask) return {};
    lanes.push_back(&fiber);
  }
  return lanes;
}

void release_warp(Block& block, uint32_t warp, uint32_t mask, Waiting waiting) {
  const std::vector<Fiber*> lanes = lanes_together(block, warp, mask, waiting);
  if (lanes.empty()) return;
  if (waiting == Waiting::kAtWarpBarrier) {
    std::vector<uint32_t> threads;
    for (const Fiber* fiber : lanes) threads.push_back(fiber->thread.number);
    block.order.warp_barrier(threads);
  } else {
    std::array<uint32_t, kWarp> values{};
    uint32_t present = 0;
    for (const Fiber* fiber : lanes) {
      values[fiber->thread.lane()] = fiber->value;
      present |= 1u << fiber->thread.lane();
    }
    for (Fiber* fiber : lanes) {
      if (!(present >> fiber->source & 1))
        fault(fiber->thread, "a shuffle from lane %u, which takes no part in it", fiber->source);
      fiber->value = values[fiber->source];
    }
  }
  for (Fiber* fiber : lanes) make_ready(block, *fiber);
}

// A thread that has ended is no longer waited for.
void end_thread(Fiber& fiber) {
  Block& block = *fiber.thread.block;
  fiber.waiting = Waiting::kEnded;
  --block.alive;
  release_block_barrier(block);
  const uint32_t first = fiber.thread.warp() * kWarp;
  for (uint32_t i = first; i < std::min(first + kWarp, block.threads); ++i) {
    const Fiber& other = block.fibers[i];
    if (other.waiting == Waiting::kAtWarpBarrier || other.waiting == Waiting::kShuffling)
      release_warp(block, fiber.thread.warp(), other.mask, other.waiting);
  }
}

void run_thread() {
  Fiber& fiber = *running;
  fiber.thread.block->launch->kernel->run(fiber.thread);
  end_thread(fiber);
  back_to_scheduler();
}

void wait_for_lanes(Thread& thread, uint32_t mask, Waiting waiting) {
  if (!(mask >> thread.lane() & 1)) fault(thread, "the mask 0x%08x leaves out the lane that waits", mask);
  running->mask = mask;
  running->waiting = waiting;
  release_warp(*thread.block, thread.warp(), mask, waiting);
  back_to_scheduler();
}

void begin_thread(Fiber& fiber, Block& block, uint64_t block_number, uint32_t number) {
  const Launch& launch = *block.launch;
  const Index dim = launch.block, grid = launch.grid;
  fiber.thread = {{number % dim.x, number / dim.x % dim.y, number / dim.x / dim.y},
                  dim,
                  {static_cast<uint32_t>(block_number % grid.x), static_cast<uint32_t>(block_number / grid.x % grid.y),
                   static_cast<uint32_t>(block_number / grid.x / grid.y)},
                  grid,
                  number,
                  &block,
                  nullptr,
                  0,
                  0,
                  0};
  void* const stack = fiber.context.uc_stack.ss_sp ? fiber.context.uc_stack.ss_sp : new_stack();
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stack;
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, run_thread, 0);
  make_ready(block, fiber);
}

[[noreturn]] void report_stuck(const Block& block) {
  uint32_t waiting = 0;
  const Thread* first = nullptr;
  for (uint32_t i = 0; i < block.threads; ++i) {
    const Fiber& fiber = block.fibers[i];
    if (fiber.waiting == Waiting::kEnded) continue;
    if (!first) first = &fiber.thread;
    ++waiting;
  }
  throw Fault(sentence_of(*first, std::to_string(waiting) + " threads wait at barriers that others never reach"));
}

}  // namespace

std::string sentence_of(const Thread& thread, const std::string& what) {
  const Kernel& kernel = *thread.block->launch->kernel;
  const Instruction& at = kernel.instructions[thread.at];
  char where[128];
  std::snprintf(where, sizeof where, ": block (%u, %u, %u), thread (%u, %u, %u) of ", thread.ctaid.x, thread.ctaid.y,
                thread.ctaid.z, thread.tid.x, thread.tid.y, thread.tid.z);
  return "PTX machine: " + what + where + kernel.name + ", at line " + std::to_string(at.line) + " of its PTX, " +
         at.text;
}

void fault(const Thread& thread, const char* format, ...) {
  char what[512];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  fault_of_running = sentence_of(thread, what);
  back_to_scheduler();
  __builtin_unreachable();  // the scheduler gives up the whole block
}

void block_barrier(Thread& thread) {
  running->waiting = Waiting::kAtBlockBarrier;
  release_block_barrier(*thread.block);
  back_to_scheduler();
}

void warp_barrier(Thread& thread, uint32_t mask) { wait_for_lanes(thread, mask, Waiting::kAtWarpBarrier); }

uint32_t shuffle(Thread& thread, Shuffle kind, uint32_t value, uint32_t by, uint32_t clamp, uint32_t mask,
                 bool& in_range) {
  const uint32_t lane = thread.lane(), segment = clamp >> 8 & 31, lowest = lane & segment;
  const uint32_t limit = lowest | (clamp & 31 & ~segment);
  by &= 31;
  uint32_t source = lowest | (by & ~segment);
  if (kind == Shuffle::kUp) source = lane - by;
  if (kind == Shuffle::kDown) source = lane + by;
  if (kind == Shuffle::kButterfly) source = lane ^ by;
  in_range = kind == Shuffle::kUp ? static_cast<int>(source) >= static_cast<int>(limit) : source <= limit;
  running->value = value;
  running->source = in_range ? source : lane;
  wait_for_lanes(thread, mask, Waiting::kShuffling);
  return running->value;
}

void run_block(const Launch& launch, uint64_t number, uint32_t run, SharedMemory& shared, std::mt19937_64& random) {
  static std::vector<Fiber> fibers;  // keeps their stacks
  const uint32_t threads = launch.block.x * launch.block.y * launch.block.z;
  if (fibers.size() < threads) fibers.resize(threads);
  Block block{&launch, run, Order(threads), &shared, fibers.data(), threads, threads, {}};
  shared.begin_block();
  for (uint32_t i = 0; i < threads; ++i) begin_thread(fibers[i], block, number, i);
  fault_of_running.clear();
  while (block.alive > 0) {
    if (block.ready.empty()) report_stuck(block);
    std::swap(block.ready[random() % block.ready.size()], block.ready.back());
    running = &fibers[block.ready.back()];
    block.ready.pop_back();
    swapcontext(&scheduler, &running->context);
    if (!fault_of_running.empty()) throw Fault(fault_of_running);
  }
}

}  // namespace ptx_machine
