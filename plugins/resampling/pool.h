// Threads for the length of one call: those of a process that has no inference library's pool to lend.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/parallel.h"

namespace msdk::cpu {

class Pool {
 public:
  // Whoever calls is one of the threads. Where the system gives fewer, there are fewer.
  explicit Pool(int threads) : threads_(threads) {
    try {
      for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      threads_ = static_cast<int>(workers_.size()) + 1;
    }
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    begun_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  Parallel parallel() {
    return {[](void* pool, Parallel::Body body, size_t total, void* data) {
              static_cast<Pool*>(pool)->run(body, total, data);
            },
            this, threads_};
  }

 private:
  // Throws the first exception that a task threw; tasks that had not begun by then do not begin.
  void run(Parallel::Body body, size_t total, void* data) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      body_ = body, data_ = data, total_ = total;
      next_ = 0;
      busy_ = workers_.size();
      ++round_;
    }
    begun_.notify_all();
    take_part();
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
    if (const std::exception_ptr thrown = std::exchange(thrown_, nullptr)) std::rethrow_exception(thrown);
  }

  void take_part() {
    try {
      for (size_t index; (index = next_.fetch_add(1, std::memory_order_relaxed)) < total_;) body_(data_, index);
    } catch (...) {
      next_ = total_;
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!thrown_) thrown_ = std::current_exception();
    }
  }

  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (size_t seen = 0;; seen = round_) {
      begun_.wait(lock, [&] { return ended_ || round_ != seen; });
      if (ended_) return;
      lock.unlock();
      take_part();
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  int threads_;
  std::mutex mutex_;
  std::condition_variable begun_, done_;
  Parallel::Body body_ = nullptr;
  void* data_ = nullptr;
  size_t total_ = 0, busy_ = 0, round_ = 0;
  std::atomic<size_t> next_{0};
  std::exception_ptr thrown_;
  bool ended_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace msdk::cpu
