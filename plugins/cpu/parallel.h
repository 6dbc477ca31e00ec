// How the ops use threads that are not their own: a loop body is handed to the caller's thread pool.
#pragma once

#include <cstddef>
#include <cstdint>

namespace msdk::cpu {

class Parallel {
 public:
  using Body = void (*)(void* data, size_t index);
  using Run = void (*)(void* pool, Body body, size_t total, void* data);

  // `threads` is how many threads the pool may have at most: it decides how finely work is cut, and so, where a scan
  // is cut along its tokens, the rounding of the result. It must not change from run to run.
  Parallel(Run run, void* pool, int threads) : run_(run), pool_(pool), threads_(threads) {}

  int threads() const { return threads_; }

  // Calls f(0) .. f(total - 1), in any order and at the same time; returns when all are done.
  template <class F>
  void operator()(int64_t total, F&& f) const {
    run_(
        pool_, [](void* data, size_t index) { (*static_cast<F*>(data))(static_cast<int64_t>(index)); },
        static_cast<size_t>(total), &f);
  }

 private:
  Run run_;
  void* pool_;
  int threads_;
};

}  // namespace msdk::cpu
