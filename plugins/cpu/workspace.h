// Working memory that is kept from call to call: after the first call the ops allocate nothing.
#pragma once

#include <cstdint>
#include <new>

namespace msdk::cpu {

class Workspace {
 public:
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() { release(); }

  // At least `bytes` bytes, aligned for any vector; the contents are undefined.
  float* get(int64_t bytes) {
    if (bytes > size_) {
      release();
      const int64_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
      memory_ = ::operator new(static_cast<size_t>(size), std::align_val_t{kAlignment});
      size_ = size;
    }
    return static_cast<float*>(memory_);
  }

 private:
  void release() {
    ::operator delete(memory_, std::align_val_t{kAlignment});
    memory_ = nullptr;
    size_ = 0;
  }

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
