// Where a fiber stands: a stack of its own, and the switches between it and the scheduler, which AddressSanitizer and
// ThreadSanitizer are told of. Stacks are reused, but under ThreadSanitizer, which would take the next one's accesses
// for a race. One scheduler runs at a time.
#pragma once

#include <sys/mman.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "happens_before.h"

#if defined(__SANITIZE_ADDRESS__)
#define CUDA_EMULATOR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDA_EMULATOR_ASAN 1
#endif
#endif
#ifdef CUDA_EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_emulator {

class FiberContext {
 public:
  // `entry` takes begin() first, and end() last.
  explicit FiberContext(void (*entry)()) : stack_(take_stack()) {
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_;
    context_.uc_stack.ss_size = kStackBytes;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
#ifdef CUDA_EMULATOR_ASAN
    __asan_unpoison_memory_region(stack_, kStackBytes);
    // ASan clears the shadow of a context's whole stack at each switch to it, and with it what guards its variables.
    context_.uc_stack = {};
#endif
  }
  ~FiberContext() {
#ifdef CUDA_EMULATOR_TSAN
    munmap(static_cast<char*>(stack_) - kGuardBytes, kStackBytes + kGuardBytes);
#else
    spare_stacks_.push_back(stack_);
#endif
  }
  FiberContext(const FiberContext&) = delete;
  FiberContext& operator=(const FiberContext&) = delete;

  ThreadHistory history;

  // From the scheduler: runs the fiber until it waits or ends.
  void resume() {
#ifdef CUDA_EMULATOR_TSAN
    const Identity scheduler;
    history.all().enter();
#endif
#ifdef CUDA_EMULATOR_ASAN
    __sanitizer_start_switch_fiber(&scheduler_fake_stack_, stack_, kStackBytes);
#endif
    swapcontext(&scheduler_, &context_);
#ifdef CUDA_EMULATOR_TSAN
    scheduler.enter();
#endif
#ifdef CUDA_EMULATOR_ASAN
    __sanitizer_finish_switch_fiber(scheduler_fake_stack_, nullptr, nullptr);
#endif
  }

  static void begin() {
#ifdef CUDA_EMULATOR_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
  }

  // From the fiber: back to the scheduler, until it is resumed.
  void wait() { to_scheduler(&fake_stack_); }
  void end() { to_scheduler(nullptr); }

 private:
  static constexpr size_t kStackBytes = 128 * 1024;
  static constexpr size_t kGuardBytes = 4096;

  static void* take_stack() {
    if (!spare_stacks_.empty()) {
      void* stack = spare_stacks_.back();
      spare_stacks_.pop_back();
      return stack;
    }
    void* memory = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) {
      std::perror("cuda_emulator: stack of a thread");
      std::abort();
    }
    return static_cast<char*>(memory) + kGuardBytes;
  }

  // fake_stack: where ASan keeps what it has beside the fiber's stack; null where that is no longer needed.
  void to_scheduler([[maybe_unused]] void** fake_stack) {
#ifdef CUDA_EMULATOR_ASAN
    __sanitizer_start_switch_fiber(fake_stack, scheduler_stack_, scheduler_stack_bytes_);
#endif
    swapcontext(&context_, &scheduler_);
#ifdef CUDA_EMULATOR_ASAN
    __sanitizer_finish_switch_fiber(fake_stack_, &scheduler_stack_, &scheduler_stack_bytes_);
#endif
  }

  static inline std::vector<void*> spare_stacks_;
  static inline ucontext_t scheduler_;
#ifdef CUDA_EMULATOR_ASAN
  static inline void* scheduler_fake_stack_ = nullptr;
  static inline const void* scheduler_stack_ = nullptr;
  static inline size_t scheduler_stack_bytes_ = 0;
#endif

  ucontext_t context_;
  void* stack_;
  void* fake_stack_ = nullptr;
};

}  // namespace cuda_emulator
