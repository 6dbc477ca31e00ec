// What ThreadSanitizer is told of the threads of a kernel: who they are, and what comes before what. They run on one
// thread of the system, so that it would see no race without this; under anything else none of it does a thing.
#pragma once

#include <memory>

#if defined(__SANITIZE_THREAD__)
#define CUDA_EMULATOR_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CUDA_EMULATOR_TSAN 1
#endif
#endif
#ifdef CUDA_EMULATOR_TSAN
#include <sanitizer/tsan_interface.h>

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace cuda_emulator {

// While one lives, no access of its thread is seen: those of the emulator itself.
class Unseen {
 public:
#ifdef CUDA_EMULATOR_TSAN
  Unseen() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unseen() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
#else
  Unseen() {}
#endif
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};

// One of those whom ThreadSanitizer takes for threads: at first whoever makes this.
class Identity {
 public:
  // f, as if it were this one's doing.
  template <class F>
  void run(F&& f) const {
#ifdef CUDA_EMULATOR_TSAN
    void* const before = __tsan_get_current_fiber();
    enter();
    f();
    __tsan_switch_to_fiber(before, __tsan_switch_to_fiber_no_sync);
#else
    f();
#endif
  }
#ifdef CUDA_EMULATOR_TSAN
  // Inlined, because ThreadSanitizer keeps a stack of calls for each.
  __attribute__((always_inline)) void enter() const { __tsan_switch_to_fiber(fiber_, __tsan_switch_to_fiber_no_sync); }

 protected:
  void* fiber_ = __tsan_get_current_fiber();
#endif
};

// Something that has happened, at first all that whoever makes it has done: what it tells at a place comes before what
// somebody does who hears of it there later. A place is an address of memory.
class Happened : public Identity {
 public:
#ifdef CUDA_EMULATOR_TSAN
  Happened() { fiber_ = __tsan_create_fiber(0); }
  ~Happened() { __tsan_destroy_fiber(fiber_); }
  void tell(void* place) const {
    run([place] { __tsan_release(place); });
  }
  void hear(void* place) const {
    run([place] { __tsan_acquire(place); });
  }
#else
  Happened() {}
  void tell(void*) const {}
  void hear(void*) const {}
#endif
  Happened(const Happened&) = delete;
  Happened& operator=(const Happened&) = delete;
};

// What was told at a place comes before what the caller does next.
inline void hear([[maybe_unused]] void* place) {
#ifdef CUDA_EMULATOR_TSAN
  __tsan_acquire(place);
#endif
}

// A thread of a kernel. Its atomics alone order nothing: what it did before its last __threadfence comes before an
// atomic of it, and what another's atomic told comes before what it does after its next __threadfence.
class ThreadHistory {
 public:
  const Happened& all() const { return all_; }

  void atomic(void* address) {
    AroundAtomics& around = around_atomics();
    around.seen.hear(address);
    around.fenced.tell(address);
  }
  void fence() {
    AroundAtomics& around = around_atomics();
    all_.tell(&around.to_fenced), around.fenced.hear(&around.to_fenced);
    around.seen.tell(&around.from_seen), all_.hear(&around.from_seen);
  }

 private:
  struct AroundAtomics {
    Happened seen, fenced;
    char to_fenced = 0, from_seen = 0;
  };

  // Made where few threads need it, as if before the launch.
  AroundAtomics& around_atomics() {
    if (!around_atomics_) start_.run([this] { around_atomics_ = std::make_unique<AroundAtomics>(); });
    return *around_atomics_;
  }

  Identity start_;
  Happened all_;
  std::unique_ptr<AroundAtomics> around_atomics_;
};

}  // namespace cuda_emulator
