// The shapes that the TensorRT plugins take, give and need memory for, in every way in which TensorRT tells them.

#include "tensorrt_cases.h"

using namespace fixture;

namespace {

// All three ways in which TensorRT tells shapes.
void expect_shapes(const Node& node, bool fit, std::initializer_list<const char*> parts) {
  const auto check = [&](const char* what, const std::function<bool()>& accepted) {
    if (fit) {
      log().take();
      expect(accepted(), std::string(node.op) + ": " + what + ": " + log().take());
    } else {
      expect_refusal(std::string(node.op) + ": " + what, parts, accepted);
    }
  };
  const Plugin plugin = create(node.op, node.fields);
  check("getOutputShapes", [&] {
    ExpressionBuilder builder;
    std::vector<DimsExprs> inputs;
    for (const PluginTensorDesc& input : node.inputs) inputs.push_back(builder.shape(input.dims));
    DimsExprs output{};
    if (build(*plugin)->getOutputShapes(inputs.data(), node.count(), nullptr, 0, &output, 1, builder)) return false;
    Dims actual{output.nbDims, {}};
    for (int axis = 0; axis < output.nbDims; ++axis) {
      actual.d[axis] = output.d[axis]->isConstant() ? output.d[axis]->getConstantValue() : -1;
    }
    if (fit) expect(same(actual, node.output.dims), std::string(node.op) + ": the output's shape");
    return true;
  });
  const std::vector<DynamicPluginTensorDesc> profile = fixed(node.inputs);
  const DynamicPluginTensorDesc output = fixed(node.output);
  check("configurePlugin",
        [&] { return build(*plugin)->configurePlugin(profile.data(), node.count(), &output, 1) == 0; });
  check("onShapeChange",
        [&] { return runtime(*plugin)->onShapeChange(node.inputs.data(), node.count(), &node.output, 1) == 0; });
  if (fit) return;
  const int32_t count = node.count();
  std::vector<PluginField> stored = node.fields;
  stored.emplace_back("inputs", &count, PluginFieldType::kINT32, 1);
  const Plugin loaded = create(node.op, stored, TensorRTPhase::kRUNTIME);
  const std::vector<const void*> inputs(node.inputs.size(), nullptr);
  void* out = nullptr;
  check("enqueue", [&] {
    return runtime(*loaded)->enqueue(node.inputs.data(), &node.output, inputs.data(), &out, nullptr, nullptr) == 0;
  });
}

void test_shapes() {
  for (const DataType T : {DataType::kFLOAT, DataType::kHALF}) {
    for (const Node& node : nodes(T)) expect_shapes(node, true, {});
  }
  const auto with = [](Node node, size_t input, const Dims& shape) {
    node.inputs[input].dims = shape;
    return node;
  };
  const std::vector<Node> valid = nodes(kFloat);
  const Node &conv = valid[0], &scan = valid[1], &kan = valid[3];  // 5 channels, 9 tokens, 3 directions
  const auto refuses = [&](const Node& node, std::initializer_list<const char*> parts) {
    expect_shapes(node, false, parts);
  };
  refuses(with(conv, 0, dims({2, 5})), {"x: expected shape (any, any, any)", "got (2, 5)"});
  refuses(with(conv, 0, dims({2, 5, 0})), {"x: expected shape", "at least 1", "got (2, 5, 0)"});
  refuses(with(conv, 0, dims({2, 5, 8})), {"slices:3", "8"});
  refuses(with(conv, 1, dims({2, 5, 4})), {"weight: expected shape (3, 5, any)", "got (2, 5, 4)"});
  refuses(with(conv, 1, dims({3, 5, 17})), {"width of weight: expected 1 to 16, got 17"});
  refuses(with(conv, 2, dims({3, 4})), {"bias: expected shape (3, 5)", "got (3, 4)"});
  refuses(with(scan, 0, dims({2, 2, 5, 9})), {"u: expected shape (any, 3, any, any)"});
  refuses(with(scan, 0, dims({2, 5, 9})), {"u: expected shape", "got (2, 5, 9)"});
  refuses(with(scan, 1, dims({2, 3, 15, 9})), {"x_dbl: expected shape (2, 3, 16, 9)", "got (2, 3, 15, 9)"});
  refuses(with(scan, 1, dims({1, 3, 16, 9})), {"x_dbl: expected shape (2, 3, 16, 9)"});
  refuses(with(scan, 2, dims({3, 6, 2})), {"dt_weight: expected shape (3, 5, any)"});
  refuses(with(scan, 2, dims({3, 5, 65})), {"dt_rank of dt_weight: expected 1 to 64, got 65"});
  refuses(with(scan, 3, dims({3, 5, 1})), {"dt_bias: expected shape (3, 5)"});
  refuses(with(scan, 4, dims({3, 5, 65})), {"states of A: expected 1 to 64, got 65"});
  refuses(with(scan, 4, dims({1, 5, 7})), {"A: expected shape (3, 5, any)"});
  refuses(with(scan, 5, dims({3, 9})), {"D_skip: expected shape (3, 5)"});
  refuses(with(scan, 6, dims({2, 5, 8})), {"z: expected shape (2, 5, 9)"});
  const auto scan_of = [](int64_t tokens) {
    return scan_node(kFloat, 1, 3, tokens, 16, 1, "backward", 1, kHalved, false);
  };
  expect_shapes(scan_of(INT32_MAX), true, {});
  refuses(scan_of(int64_t{1} << 31), {"tokens of u: expected 1 to 2147483647, got 2147483648"});
  refuses(with(kan, 1, dims({3, 6})), {"base_weight: expected shape (any, 5)"});
  refuses(with(kan, 2, dims({4, 5, 8})), {"spline_weight: expected shape (3, 5, any)"});
  refuses(with(kan, 2, dims({3, 5, 3})), {"bases of spline_weight: expected 4 to 64, got 3"});
  refuses(with(kan, 2, dims({3, 5, 65})), {"bases of spline_weight: expected 4 to 64, got 65"});
}

// Sizes, types and formats of the output, where TensorRT tells them.
void test_output(const Node& node) {
  const auto refuses = [&](PluginTensorDesc output, const char* part) {
    const std::vector<DynamicPluginTensorDesc> profile = fixed(node.inputs);
    const DynamicPluginTensorDesc last = fixed(output);
    const Plugin plugin = create(node.op, node.fields);
    expect_refusal("an output when configured", {part},
                   [&] { return build(*plugin)->configurePlugin(profile.data(), node.count(), &last, 1) == 0; });
    expect_refusal("an output when shapes change", {part},
                   [&] { return runtime(*plugin)->onShapeChange(node.inputs.data(), node.count(), &output, 1) == 0; });
  };
  PluginTensorDesc output = node.output;
  output.dims.d[output.dims.nbDims - 1] += 1;
  refuses(output, "expected shape");
  output = node.output;
  output.type = output.type == DataType::kHALF ? DataType::kFLOAT : DataType::kHALF;
  refuses(output, "the same for all data tensors");
  output = node.output;
  output.format = TensorFormat::kCHW32;
  refuses(output, "in linear format");
}

// Batch and tokens unknown until the engine runs.
void test_dynamic_shapes(const Node& node) {
  const auto is_data = [&](int input) { return input == 0 || node.inputs[input].type != kFloat; };
  int64_t batch = 3, length = 9;
  ExpressionBuilder builder;
  const IDimensionExpr *B = builder.variable(batch), *L = builder.variable(length);
  std::vector<DimsExprs> inputs;
  for (int i = 0; i < node.count(); ++i) {
    inputs.push_back(builder.shape(node.inputs[i].dims));
    if (!is_data(i)) continue;
    inputs[i].d[0] = B;
    inputs[i].d[inputs[i].nbDims - 1] = L;
  }
  const Plugin plugin = create(node.op, node.fields);
  DimsExprs output{};
  expect(build(*plugin)->getOutputShapes(inputs.data(), node.count(), nullptr, 0, &output, 1, builder) == 0,
         "dynamic shapes are accepted");
  for (const auto& [b, l] : {std::pair{1, 12}, {7, 3}}) {
    batch = b, length = l;
    Dims wanted = node.output.dims;
    wanted.d[0] = b, wanted.d[wanted.nbDims - 1] = l;
    Dims actual{output.nbDims, {}};
    for (int axis = 0; axis < output.nbDims; ++axis) {
      actual.d[axis] = static_cast<const Expression*>(output.d[axis])->value();
    }
    expect(same(actual, wanted), std::string(node.op) + ": the output follows batch and tokens");
  }

  // A profile from 1 x 3 to 4 x 30 tokens; its bounds need not be shapes that would be accepted.
  std::vector<DynamicPluginTensorDesc> profile = fixed(node.all());
  for (int i = 0; i <= node.count(); ++i) {
    if (i < node.count() && !is_data(i)) continue;
    const int last = profile[i].desc.dims.nbDims - 1;
    profile[i].desc.dims.d[0] = profile[i].desc.dims.d[last] = -1;
    profile[i].min.d[0] = 1, profile[i].min.d[last] = 4;
    profile[i].opt.d[0] = 2, profile[i].opt.d[last] = 9;
    profile[i].max.d[0] = 4, profile[i].max.d[last] = 31;
  }
  const DynamicPluginTensorDesc* out = &profile[node.count()];
  expect(build(*plugin)->configurePlugin(profile.data(), node.count(), out, 1) == 0, "a profile: " + log().take());
  const size_t all = build(*plugin)->getWorkspaceSize(profile.data(), node.count(), out, 1);
  for (int64_t b = 1; b <= 4; ++b) {
    for (int64_t l = 3; l <= 30; l += 3) {
      std::vector<DynamicPluginTensorDesc> one = profile;
      for (DynamicPluginTensorDesc& tensor : one) {
        for (int axis = 0; axis < tensor.desc.dims.nbDims; ++axis) {
          if (tensor.desc.dims.d[axis] == -1) tensor.desc.dims.d[axis] = axis == 0 ? b : l;
        }
        tensor.min = tensor.opt = tensor.max = tensor.desc.dims;
      }
      expect(build(*plugin)->getWorkspaceSize(one.data(), node.count(), &one[node.count()], 1) <= all,
             "the profile's workspace is enough for every shape in it");
    }
  }

  std::vector<DynamicPluginTensorDesc> wrong = profile;
  wrong[0].opt.d[wrong[0].opt.nbDims - 1] = node.op == std::string("KanLinear") ? 0 : 10;
  expect(build(*plugin)->configurePlugin(wrong.data(), node.count(), out, 1) ==
             (node.op == std::string("KanLinear") ? 0 : 1),
         "an optimum that the op cannot run is refused, unless it is left open");
  log().take();

  const std::vector<const void*> pointers(node.inputs.size(), nullptr);
  void* nothing = nullptr;
  std::vector<PluginTensorDesc> unknown;
  for (const DynamicPluginTensorDesc& tensor : profile) unknown.push_back(tensor.desc);
  expect_refusal("running unknown sizes", {"every size to be known"}, [&] {
    return runtime(*plugin)->enqueue(unknown.data(), &unknown[node.count()], pointers.data(), &nothing, nullptr,
                                     nullptr) == 0;
  });
}

// Sizes at which the kernel is split differently: fewer tokens may take more, shorter chunks.
void test_workspace() {
  const auto bytes = [](const Node& node) {
    const Plugin plugin = create(node.op, node.fields);
    const std::vector<DynamicPluginTensorDesc> tensors = fixed(node.all());
    return build(*plugin)->getWorkspaceSize(tensors.data(), node.count(), &tensors[node.count()], 1);
  };
  for (const DataType T : {DataType::kFLOAT, DataType::kHALF}) {
    size_t before = 0;
    for (int64_t length = 1; length < 300'000; length += 1 + length / 64) {
      const size_t one = bytes(scan_node(T, 1, 96, length, 16, 6, "forward,backward", 2, kHalved, true));
      expect(one >= before, "the workspace of " + std::to_string(length) + " tokens is enough for fewer");
      const size_t two = bytes(scan_node(T, 2, 96, length, 16, 6, "forward,backward", 2, kHalved, true));
      expect(two >= one, "the workspace of 2 x " + std::to_string(length) + " tokens is enough for 1");
      before = one;
    }
    expect(before > 0, "a long scan needs a workspace");
    expect(bytes(conv_node(T, 2, 5, 129, 4, "forward,backward", 2)) == 0, "the convolution needs none");
    expect(bytes(kan_node(T, 2, 5, 3, 9, 8, kLow, kHigh)) == 0, "KAN needs none");
  }
}

}  // namespace

int main() {
  setLoggerFinder(&log());
  for (const DataType T : {DataType::kFLOAT, DataType::kHALF}) {
    for (const Node& node : nodes(T)) test_output(node);
  }
  for (const Node& node : nodes(DataType::kHALF)) test_dynamic_shapes(node);
  test_shapes();
  test_workspace();
  expect(log().take().empty(), "no message is left over");
  return finish();
}
