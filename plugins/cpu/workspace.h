// Working memory that is kept from call to call: after the first call the ops allocate nothing.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>

namespace msdk::cpu {

class Workspace {
 public:
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() { std::free(memory_); }

  // At least `bytes` bytes, aligned for any vector; the contents are undefined.
  float* get(int64_t bytes) {
    if (bytes > size_) {
      std::free(memory_);
      size_ = (bytes + kAlignment - 1) / kAlignment * kAlignment;
      memory_ = std::aligned_alloc(kAlignment, static_cast<size_t>(size_));
      if (!memory_) {
        size_ = 0;
        throw std::bad_alloc();
      }
    }
    return static_cast<float*>(memory_);
  }

 private:
  static constexpr int64_t kAlignment = 64;
  void* memory_ = nullptr;
  int64_t size_ = 0;
};

// One for each thread that runs tasks.
inline float* task_scratch(int64_t bytes) {
  static thread_local Workspace workspace;
  return workspace.get(bytes);
}

}  // namespace msdk::cpu
