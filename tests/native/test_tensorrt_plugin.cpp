// The TensorRT plugins as a builder and an engine hold them: identity, types, numbers of tensors, a plugin's life.
// Their shapes are in test_tensorrt_shapes.cpp.

#include <thread>

#include "tensorrt_cases.h"

using namespace fixture;

namespace {

void test_identity(const Node& node) {
  const Plugin plugin = create(node.op, node.fields);
  expect(core(*plugin)->getPluginName() == std::string(node.op), "the plugin's name");
  expect(core(*plugin)->getPluginVersion() == std::string("1"), "the plugin's version");
  expect(core(*plugin)->getPluginNamespace() == std::string("msdk"), "the plugin's namespace");
  expect(plugin->getInterfaceInfo().kind == std::string("PLUGIN"), "the plugin's interface");
  expect(core(*plugin)->getInterfaceInfo().kind == std::string("PLUGIN_V3ONE_CORE"), "the core's interface");
  expect(build(*plugin)->getInterfaceInfo().kind == std::string("PLUGIN_V3ONE_BUILD"), "the build's interface");
  expect(runtime(*plugin)->getInterfaceInfo().kind == std::string("PLUGIN_V3ONE_RUNTIME"), "the runtime's interface");
  expect(build(*plugin)->getNbOutputs() == 1, "one output");
  expect(build(*plugin)->getNbTactics() == 0, "it has no tactics");
  expect(build(*plugin)->getValidTactics(nullptr, 0) == 0, "none to list");
  expect(build(*plugin)->getFormatCombinationLimit() >= 2, "float32 and float16 may both be tried");
  expect(runtime(*plugin)->setTactic(0) == 0, "the default tactic");
  expect(build(*plugin)->getTimingCacheID() == std::string(build(*plugin)->getMetadataString()), "the cache's key");
  expect_refusal("another capability", {"core, build or runtime"},
                 [&] { return plugin->getCapabilityInterface(static_cast<PluginCapabilityType>(9)) != nullptr; });
}

void test_types(const Node& node) {
  const Plugin plugin = create(node.op, node.fields);
  std::vector<DataType> types;
  for (const PluginTensorDesc& input : node.inputs) types.push_back(input.type);
  DataType out = DataType::kINT8;
  expect(build(*plugin)->getOutputDataTypes(&out, 1, types.data(), node.count()) == 0, "types are accepted");
  expect(out == node.output.type, "the output has the data's type");
  for (int i = 0; i < node.count(); ++i) {
    for (const DataType type :
         {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT32, DataType::kINT8}) {
      if (type == types[i]) continue;
      const bool other_data = i == 0 && (type == DataType::kFLOAT || type == DataType::kHALF);
      if (other_data && node.op != std::string("BidirectionalSelectiveScan")) continue;  // x is the only data tensor
      std::vector<DataType> wrong = types;
      wrong[i] = type;
      expect_refusal("a wrong type",
                     {other_data ? "the same for all data tensors" : "expected float32", "got DataType"},
                     [&] { return build(*plugin)->getOutputDataTypes(&out, 1, wrong.data(), node.count()) == 0; });
    }
  }

  // Exactly one type fits each place, given those before it; two fit the first.
  std::vector<DynamicPluginTensorDesc> tensors = fixed(node.all());
  const auto supports = [&](int position) {
    return build(*plugin)->supportsFormatCombination(position, tensors.data(), node.count(), 1);
  };
  for (int position = 0; position <= node.count(); ++position) {
    const PluginTensorDesc right = tensors[position].desc;
    for (int type = 0; type <= static_cast<int>(DataType::kINT64); ++type) {
      tensors[position].desc.type = static_cast<DataType>(type);
      const bool fits = position == 0 ? type <= 1 : tensors[position].desc.type == right.type;
      expect(supports(position) == fits, "DataType " + std::to_string(type) + " at " + std::to_string(position));
    }
    tensors[position].desc.type = right.type;
    for (int format = 0; format <= static_cast<int>(TensorFormat::kDHWC); ++format) {
      tensors[position].desc.format = static_cast<TensorFormat>(format);
      expect(supports(position) == (format == 0), "TensorFormat " + std::to_string(format));
    }
    tensors[position].desc = right;
  }
  expect_refusal("a position past the end", {"the position of a tensor"}, [&] { return supports(node.count() + 1); });
}

void test_counts(const Node& node) {
  const Plugin plugin = create(node.op, node.fields);
  IPluginV3OneBuild& b = *build(*plugin);
  ExpressionBuilder builder;
  const PluginTensorDesc none = tensor(kFloat, dims({1, 1, 1}));
  std::vector<PluginTensorDesc> descs(9, none);
  std::vector<DynamicPluginTensorDesc> tensors(9, fixed(none));
  std::vector<DimsExprs> shapes(9, builder.shape(dims({1, 1, 1})));
  std::vector<DataType> types(9, kFloat);
  for (const auto& [inputs, outputs] : {std::pair{2, 1}, {8, 1}, {-1, 1}, {node.count(), 0}, {node.count(), 2}}) {
    const int32_t n = inputs, m = outputs;
    const std::initializer_list<const char*> said = {"inputs and 1 output, got"};
    expect_refusal("types", said, [&, n, m] { return b.getOutputDataTypes(types.data(), m, types.data(), n) == 0; });
    expect_refusal("shapes", said, [&, n, m] {
      return b.getOutputShapes(shapes.data(), n, nullptr, 0, shapes.data(), m, builder) == 0;
    });
    expect_refusal("formats", said, [&, n, m] { return b.supportsFormatCombination(0, tensors.data(), n, m); });
    expect_refusal("configuring", said,
                   [&, n, m] { return b.configurePlugin(tensors.data(), n, tensors.data(), m) == 0; });
    expect_refusal("workspace", said, [&, n, m] { return b.getWorkspaceSize(tensors.data(), n, tensors.data(), m); });
    expect_refusal("shape change", said,
                   [&, n, m] { return runtime(*plugin)->onShapeChange(descs.data(), n, descs.data(), m) == 0; });
  }
}

void test_life(const Node& node) {
  const Plugin plugin = create(node.op, node.fields);
  const std::string said = build(*plugin)->getMetadataString();
  const std::vector<const void*> inputs(node.inputs.size(), nullptr);
  void* out = nullptr;
  const auto enqueue = [&](IPluginV3& one) {
    return runtime(one)->enqueue(node.inputs.data(), &node.output, inputs.data(), &out, nullptr, nullptr);
  };
  expect_refusal("running before any shape is known", {"onShapeChange before enqueue"},
                 [&] { return enqueue(*plugin) == 0; });

  const auto inputs_of = [](IPluginV3& one) {
    const PluginFieldCollection* stored = runtime(one)->getFieldsToSerialize();
    const PluginField& last = stored->fields[stored->nbFields - 1];
    expect(std::string(last.name) == "inputs" && last.type == PluginFieldType::kINT32 && last.length == 1,
           "the number of inputs is stored");
    return *static_cast<const int32_t*>(last.data);
  };
  expect(inputs_of(*plugin) == 0, "not known yet");
  const std::vector<DynamicPluginTensorDesc> profile = fixed(node.inputs);
  const DynamicPluginTensorDesc last = fixed(node.output);
  expect(build(*plugin)->configurePlugin(profile.data(), node.count(), &last, 1) == 0, "configured");
  expect(inputs_of(*plugin) == node.count(), "known once configured");

  Plugin first = reloaded(*plugin);
  expect(first != nullptr, "a plan gives the plugin back: " + log().take());
  Plugin copy(first->clone()), attached(runtime(*copy)->attachToContext(nullptr));
  first.reset();
  for (IPluginV3* one : {copy.get(), attached.get()}) {
    expect(one && one != plugin.get(), "another object");
    expect(build(*one)->getMetadataString() == said, "with the same attributes");
    expect(inputs_of(*one) == node.count(), "and the same number of inputs");
    const Plugin again = reloaded(*one);
    expect(again && build(*again)->getMetadataString() == said, "again through a plan");
  }

  // Many contexts of one engine at once: attached, given shapes, stored and released in different threads.
  std::vector<std::thread> threads;
  std::vector<int> good(6, 0);
  for (size_t t = 0; t < good.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 20; ++round) {
        const Plugin one(runtime(*copy)->attachToContext(nullptr)), two(one->clone());
        good[t] += runtime(*two)->onShapeChange(node.inputs.data(), node.count(), &node.output, 1) == 0 &&
                   build(*reloaded(*one))->getMetadataString() == said;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : good) expect(count == 20, "contexts in several threads");
}

}  // namespace

int main() {
  setLoggerFinder(&log());
  for (const DataType T : {DataType::kFLOAT, DataType::kHALF}) {
    for (const Node& node : nodes(T)) {
      test_identity(node);
      test_types(node);
      test_counts(node);
      test_life(node);
    }
  }
  expect(log().take().empty(), "no message is left over");
  return finish();
}
