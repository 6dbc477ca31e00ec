// The TensorRT plugins run on the emulator: built, stored in a plan, loaded, attached to two contexts and enqueued
// there, against the CPU kernels, in float32 and float16. Outputs and workspace are poisoned and exactly as large as
// the plugin asked for.

#include <cuda_fp16.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

#include "cpu/kernels.h"
#include "ops/conv3d/cpu.h"
#include "ops/directional_conv1d/cpu.h"
#include "ops/directions.h"
#include "ops/kan_linear/cpu.h"
#include "ops/selective_scan/cpu.h"
#include "ops/token_norm/cpu.h"
#include "ops/trilinear_upsample/cpu.h"
#include "tensorrt_cases.h"

using namespace fixture;

namespace {

using Floats = std::vector<float>;

int64_t volume(const Dims& shape) {
  int64_t count = 1;
  for (int axis = 0; axis < shape.nbDims; ++axis) count *= shape.d[axis];
  return count;
}

uint16_t bits_of(float value) {
  const __half half = __float2half_rn(value);
  uint16_t bits;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}

float value_of(uint16_t bits) {
  __half half;
  std::memcpy(&half, &bits, sizeof bits);
  return __half2float(half);
}

// Memory that ends where the tensor ends, so that AddressSanitizer sees a step past it.
class Tensor {
 public:
  explicit Tensor(const PluginTensorDesc& desc)
      : half_(desc.type == DataType::kHALF), count_(volume(desc.dims)), bytes_(count_ * (half_ ? 2 : 4), '\xff') {}

  void* data() { return bytes_.data(); }
  const std::vector<char>& bytes() const { return bytes_; }

  // Rounded to the tensor's type.
  void set(Floats& values) {
    for (int64_t i = 0; i < count_; ++i) {
      if (half_) {
        const uint16_t bits = bits_of(values[i]);
        values[i] = value_of(bits);
        std::memcpy(&bytes_[i * 2], &bits, 2);
      } else {
        std::memcpy(&bytes_[i * 4], &values[i], 4);
      }
    }
  }

  Floats get() const {
    Floats values(count_);
    for (int64_t i = 0; i < count_; ++i) {
      if (half_) {
        uint16_t bits;
        std::memcpy(&bits, &bytes_[i * 2], 2);
        values[i] = value_of(bits);
      } else {
        std::memcpy(&values[i], &bytes_[i * 4], 4);
      }
    }
    return values;
  }

 private:
  bool half_;
  int64_t count_;
  std::vector<char> bytes_;
};

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

void run_here(void*, msdk::cpu::Parallel::Body body, size_t total, void* data) {
  for (size_t index = 0; index < total; ++index) body(data, index);
}
const msdk::cpu::Parallel kHere(run_here, nullptr, 1);

msdk::DirectionList parsed(const PluginField& field) {
  msdk::DirectionList list;
  const std::string_view text(static_cast<const char*>(field.data), static_cast<size_t>(field.length));
  expect(msdk::parse_directions(text, list).empty(), "directions of the test");
  return list;
}

float number_of(const PluginField& field) { return *static_cast<const float*>(field.data); }

Floats on_the_cpu(const Node& node, const std::vector<Floats>& in) {
  Floats out(static_cast<size_t>(volume(node.output.dims)));
  const auto size = [&](int input, int axis) { return node.inputs[input].dims.d[axis]; };
  const std::string op = node.op;
  if (op == "DirectionalConv1d") {
    msdk::DirectionalConv1dArgs<float> args{};
    args.batch = size(0, 0), args.channels = size(0, 1), args.length = size(0, 2);
    args.width = static_cast<int>(size(1, 2));
    args.directions = parsed(node.fields[0]);
    args.x = in[0].data(), args.weight = in[1].data(), args.bias = in[2].data(), args.u = out.data();
    msdk::cpu::directional_conv1d(args, kHere);
  } else if (op == "BidirectionalSelectiveScan") {
    msdk::SelectiveScanArgs<float> args{};
    args.batch = size(0, 0), args.channels = size(0, 2), args.length = size(0, 3);
    args.states = static_cast<int>(size(4, 2)), args.dt_rank = static_cast<int>(size(2, 2));
    args.directions = parsed(node.fields[0]), args.scale = number_of(node.fields[1]);
    args.u = in[0].data(), args.x_dbl = in[1].data(), args.dt_weight = in[2].data(), args.dt_bias = in[3].data();
    args.A = in[4].data(), args.D_skip = in[5].data(), args.z = in.size() > 6 ? in[6].data() : nullptr;
    args.y = out.data();
    msdk::cpu::selective_scan(args, kHere);
  } else {
    msdk::KanLinearArgs<float> args{};
    args.batch = size(0, 0), args.in_channels = size(0, 1), args.length = size(0, 2), args.out_channels = size(1, 0);
    args.bases = static_cast<int>(size(2, 2));
    args.grid_min = number_of(node.fields[0]), args.grid_max = number_of(node.fields[1]);
    args.x = in[0].data(), args.base_weight = in[1].data(), args.spline_weight = in[2].data(), args.y = out.data();
    msdk::cpu::kan_linear(args, kHere);
  }
  return out;
}

std::vector<Floats> random_inputs(const Node& node, unsigned seed) {
  std::mt19937 rng(seed);
  std::vector<Floats> all;
  for (int i = 0; i < node.count(); ++i) {
    const bool is_A = i == 4;  // of the scan, the only op with so many inputs
    std::uniform_real_distribution<float> draw(is_A ? -8.0f : -1.5f, is_A ? -0.1f : 1.5f);
    Floats values(static_cast<size_t>(volume(node.inputs[i].dims)));
    for (float& value : values) value = draw(rng);
    all.push_back(std::move(values));
  }
  return all;
}

// From the builder's plugin to the one that an engine has loaded.
Plugin engine_plugin(const Node& node, size_t& workspace) {
  const Plugin built = create(node.op, node.fields);
  const std::vector<DynamicPluginTensorDesc> profile = fixed(node.all());
  const DynamicPluginTensorDesc* output = &profile[node.count()];
  expect(build(*built)->configurePlugin(profile.data(), node.count(), output, 1) == 0, "configured: " + log().take());
  workspace = build(*built)->getWorkspaceSize(profile.data(), node.count(), output, 1);
  return reloaded(*built);
}

void test(const Node& node, unsigned seed) {
  const bool half = node.output.type == DataType::kHALF;
  const std::string what = std::string(node.op) + (half ? " float16 " : " float32 ") + "case " + std::to_string(seed);
  size_t workspace_bytes = 0;
  const Plugin engine = engine_plugin(node, workspace_bytes);
  std::vector<Floats> values = random_inputs(node, seed);
  std::vector<Tensor> inputs;
  std::vector<const void*> pointers;
  for (int i = 0; i < node.count(); ++i) {
    inputs.emplace_back(node.inputs[i]);
    inputs.back().set(values[i]);
    pointers.push_back(inputs.back().data());
  }

  std::vector<Tensor> outputs(2, Tensor(node.output));
  for (Tensor& output : outputs) {
    const Plugin context(runtime(*engine)->attachToContext(nullptr));
    const size_t rounded = (workspace_bytes + 255) / 256 * 256;
    const std::unique_ptr<void, Free> workspace(rounded ? std::aligned_alloc(256, rounded) : nullptr);
    if (rounded) std::memset(workspace.get(), 0xff, rounded);
    expect(runtime(*context)->onShapeChange(node.inputs.data(), node.count(), &node.output, 1) == 0, what);
    void* out = output.data();
    if (workspace_bytes > 0) {
      expect_refusal(what, {"expected a workspace, got none"}, [&] {
        return runtime(*context)->enqueue(node.inputs.data(), &node.output, pointers.data(), &out, nullptr, nullptr) ==
               0;
      });
    }
    expect(runtime(*context)->enqueue(node.inputs.data(), &node.output, pointers.data(), &out, workspace.get(),
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

}  // namespace

int main() {
  setLoggerFinder(&log());
  const float scale = 0.5f, one = 1.0f, low = -1.25f, high = 1.5f;
  unsigned seed = 1;
  for (const DataType T : {DataType::kFLOAT, DataType::kHALF}) {
    const Node nodes[] = {
        conv_node(T, 1, 1, 1, 1, "forward", 1),
        conv_node(T, 2, 5, 129, 4, "forward,backward", 2),
        conv_node(T, 1, 3, 70, 3, "slices:7,slices:7:backward,backward", 3),
        scan_node(T, 1, 1, 1, 1, 1, "backward", 1, one, false),
        scan_node(T, 2, 5, 131, 16, 3, "forward,backward", 2, scale, true),
        scan_node(T, 1, 33, 90, 8, 2, "forward,backward,slices:9", 3, one, true),
        scan_node(T, 1, 3, 64, 5, 1, "slices:8,slices:8:backward,forward,backward", 4, one, false),
        scan_node(T, 1, 2, 1030, 16, 1, "forward,backward", 2, one, true),
        kan_node(T, 1, 1, 1, 1, 4, low, high),
        kan_node(T, 2, 7, 5, 67, 8, low, high),
    };
    for (const Node& node : nodes) test(node, seed++);
  }
  expect(log().take().empty(), "no message was logged");
  return finish();
}
