// Enqueues a plugin on the emulator, or on a GPU where `make gpu-check` builds this, and compares it with a kernel for
// the CPU: built, stored in a plan, loaded, attached to two contexts and run there, in float32 and float16. Outputs and
// workspace are poisoned and exactly as large as the plugin asked for.
#pragma once

#include <cuda_fp16.h>

#include <cmath>
#include <cstring>

#include "cpu/parallel.h"
#include "tensorrt_cases.h"

// tests/gpu/device.cu: each returns null or the sentence it failed with.
extern "C" {
const char* check_allocate(void** pointer, size_t bytes);
const char* check_release(void* pointer);
const char* check_fill(void* pointer, int byte, size_t bytes);
const char* check_upload(void* to, const void* from, size_t bytes);
const char* check_download(void* to, const void* from, size_t bytes);
const char* check_synchronize();
}

namespace fixture {

using Floats = std::vector<float>;

inline int64_t volume(const Dims& shape) {
  int64_t count = 1;
  for (int axis = 0; axis < shape.nbDims; ++axis) count *= shape.d[axis];
  return count;
}

inline uint16_t bits_of(float value) {
  const __half half = __float2half_rn(value);
  uint16_t bits;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}

inline float value_of(uint16_t bits) {
  __half half;
  std::memcpy(static_cast<void*>(&half), &bits, sizeof bits);
  return __half2float(half);
}

// Device memory, poisoned, that ends where what it holds ends, so that AddressSanitizer sees a step past the
// emulator's.
class Memory {
 public:
  explicit Memory(size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    void* memory = nullptr;
    done(check_allocate(&memory, bytes));
    memory_.reset(memory);
    done(check_fill(memory, 0xff, bytes));
  }

  void* data() const { return memory_.get(); }

  void set(const std::vector<char>& bytes) { done(check_upload(data(), bytes.data(), bytes_)); }

  // After all work enqueued before.
  std::vector<char> get() const {
    std::vector<char> bytes(bytes_);
    done(check_synchronize());
    done(check_download(bytes.data(), data(), bytes_));
    return bytes;
  }

 private:
  struct Release {
    void operator()(void* memory) const { done(check_release(memory)); }
  };

  static void done(const char* sentence) { expect(sentence == nullptr, sentence ? sentence : "device memory"); }

  size_t bytes_;
  std::unique_ptr<void, Release> memory_;
};

class Tensor {
 public:
  explicit Tensor(const PluginTensorDesc& desc)
      : half_(desc.type == DataType::kHALF), count_(volume(desc.dims)), memory_(count_ * (half_ ? 2 : 4)) {}

  void* data() const { return memory_.data(); }
  std::vector<char> bytes() const { return memory_.get(); }

  // Rounded to the tensor's type.
  void set(Floats& values) {
    std::vector<char> bytes(count_ * (half_ ? 2 : 4));
    for (int64_t i = 0; i < count_; ++i) {
      if (half_) {
        const uint16_t bits = bits_of(values[i]);
        values[i] = value_of(bits);
        std::memcpy(&bytes[i * 2], &bits, 2);
      } else {
        std::memcpy(&bytes[i * 4], &values[i], 4);
      }
    }
    memory_.set(bytes);
  }

  Floats get() const {
    const std::vector<char> bytes = memory_.get();
    Floats values(count_);
    for (int64_t i = 0; i < count_; ++i) {
      if (half_) {
        uint16_t bits;
        std::memcpy(&bits, &bytes[i * 2], 2);
        values[i] = value_of(bits);
      } else {
        std::memcpy(&values[i], &bytes[i * 4], 4);
      }
    }
    return values;
  }

 private:
  bool half_;
  int64_t count_;
  Memory memory_;
};

inline void run_here(void*, msdk::cpu::Parallel::Body body, size_t total, void* data) {
  for (size_t index = 0; index < total; ++index) body(data, index);
}
inline const msdk::cpu::Parallel kHere(run_here, nullptr, 1);

// From the builder's plugin to the one that an engine has loaded.
inline Plugin engine_plugin(const Node& node, size_t& workspace) {
  const Plugin built = create(node.op, node.fields);
  const std::vector<DynamicPluginTensorDesc> profile = fixed(node.all());
  const DynamicPluginTensorDesc* output = &profile[node.count()];
  expect(build(*built)->configurePlugin(profile.data(), node.count(), output, 1) == 0, "configured: " + log().take());
  workspace = build(*built)->getWorkspaceSize(profile.data(), node.count(), output, 1);
  return reloaded(*built);
}

// values: the inputs, rounded here to their types. on_the_cpu: a function of the node and of these -> the output.
template <class OnTheCpu>
void test_enqueue(const Node& node, std::vector<Floats> values, const std::string& name, const OnTheCpu& on_the_cpu) {
  const bool half = node.output.type == DataType::kHALF;
  const std::string what = std::string(node.op) + (half ? " float16 " : " float32 ") + name;
  size_t workspace_bytes = 0;
  const Plugin engine = engine_plugin(node, workspace_bytes);
  std::vector<Tensor> inputs;
  std::vector<const void*> pointers;
  for (int i = 0; i < node.count(); ++i) {
    inputs.emplace_back(node.inputs[i]);
    inputs.back().set(values[i]);
    pointers.push_back(inputs.back().data());
  }

  const Tensor outputs[] = {Tensor(node.output), Tensor(node.output)};
  for (const Tensor& output : outputs) {
    const Plugin context(runtime(*engine)->attachToContext(nullptr));
    const Memory workspace(workspace_bytes);
    expect(runtime(*context)->onShapeChange(node.inputs.data(), node.count(), &node.output, 1) == 0, what);
    void* out = output.data();
    if (workspace_bytes > 0) {
      expect_refusal(what, {"expected a workspace, got none"}, [&] {
        return runtime(*context)->enqueue(node.inputs.data(), &node.output, pointers.data(), &out, nullptr, nullptr) ==
               0;
      });
    }
    expect(runtime(*context)->enqueue(node.inputs.data(), &node.output, pointers.data(), &out, workspace.data(),
                                      nullptr) == 0,
           what + ": " + log().take());
  }
  expect(outputs[0].bytes() == outputs[1].bytes(), what + ": two contexts give the same bits");

  const Floats actual = outputs[0].get(), expected = on_the_cpu(node, values);
  double largest = 0, rms = 0;
  for (const float value : expected) rms += double(value) * value / expected.size();
  const double rtol = half ? 3e-3 : 1e-4, atol = half ? 5e-3 : 1e-5;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double allowed = atol * std::max(1.0, std::sqrt(rms)) + rtol * std::fabs(expected[i]);
    const double error = std::fabs(actual[i] - expected[i]) / allowed;
    largest = std::isfinite(error) ? std::max(largest, error) : INFINITY;
    if (!std::isfinite(largest)) break;
  }
  expect(largest <= 1, what + ": the error is " + std::to_string(largest) + " times what is allowed");
}

}  // namespace fixture
