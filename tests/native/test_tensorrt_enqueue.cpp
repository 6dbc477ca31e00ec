// The TensorRT plugins run on the emulator against the CPU kernels (tensorrt_enqueue.h says how). An op added later has
// its cases in test_tensorrt_<op>.cpp.

#include "tensorrt_enqueue.h"

#include <random>

#include "cpu/kernels.h"
#include "ops/directional_conv1d/cpu.h"
#include "ops/directions.h"
#include "ops/kan_linear/cpu.h"
#include "ops/selective_scan/cpu.h"

using namespace fixture;

namespace {

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
    for (const Node& node : nodes) {
      const std::string name = "case " + std::to_string(seed);
      test_enqueue(node, random_inputs(node, seed++), name, on_the_cpu);
    }
  }
  expect(log().take().empty(), "no message was logged");
  return finish();
}
