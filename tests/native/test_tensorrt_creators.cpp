// The creators of the TensorRT plugins: what they say of themselves, and the plugins they make of good and bad fields.

#include <stdexcept>

#include "tensorrt_cases.h"

using namespace fixture;

namespace {

void test_creators() {
  int32_t count = 0;
  IPluginCreatorInterface* const* all = getCreators(count);
  expect(count == 3 && all, "three creators");
  for (int i = 0; i < count; ++i) {
    expect(std::string(all[i]->getInterfaceInfo().kind) == "PLUGIN CREATOR_V3ONE", "the creators' interface");
    expect(all[i]->getAPILanguage() == APILanguage::kCPP, "the creators' language");
  }
  for (const Node& node : nodes(kFloat)) {
    IPluginCreatorV3One* one = creator(node.op);
    expect(one, std::string("a creator of ") + node.op);
    expect(std::string(one->getPluginVersion()) == "1", "the creator's version");
    expect(std::string(one->getPluginNamespace()) == "msdk", "the creator's namespace");
    const PluginFieldCollection* names = one->getFieldNames();
    expect(names->nbFields == static_cast<int32_t>(node.fields.size()), std::string("field names of ") + node.op);
    for (int i = 0; i < names->nbFields; ++i) {
      expect(std::string(names->fields[i].name) == node.fields[i].name, "the name of a field");
      expect(names->fields[i].type == node.fields[i].type, "the type of a field");
    }
  }
}

// The metadata string of the plugin made from these fields; empty where none is made.
std::string made(const char* op, const std::vector<PluginField>& fields, TensorRTPhase phase = TensorRTPhase::kBUILD) {
  const Plugin plugin = create(op, fields, phase);
  return plugin ? build(*plugin)->getMetadataString() : "";
}

void test_fields() {
  const char *conv = "DirectionalConv1d", *scan = "BidirectionalSelectiveScan", *kan = "KanLinear";
  expect(made(conv, {}) == "msdk::DirectionalConv1d 1 directions=forward,backward", "defaults of the convolution");
  expect(made(scan, {}) == "msdk::BidirectionalSelectiveScan 1 directions=forward,backward;scale=1",
         "defaults of the scan");
  expect(made(kan, {}) == "msdk::KanLinear 1 grid_min=-1;grid_max=1", "defaults of KAN");
  for (const char* op : {conv, scan, kan}) {
    expect(Plugin(creator(op)->createPlugin("node", nullptr, TensorRTPhase::kBUILD)) != nullptr, "no collection");
  }
  const float scale = 0.1f;
  const std::string with_end("slices:8:backward,forward\0\0", 27);
  expect(made(scan, {text("plugin_version", "1"), text("plugin_namespace", "msdk"), number("scale", scale),
                     text("directions", with_end)}) ==
             "msdk::BidirectionalSelectiveScan 1 directions=slices:8:backward,forward;scale=0.100000001",
         "all fields, in another order, the string with its terminating NUL");
  const std::string_view field = "forward";
  const std::string memory = std::string(field) + std::string(4, 'X');  // the field, and what lies behind it
  expect(made(conv, {text("directions", std::string_view(memory).substr(0, field.size()))}) ==
             "msdk::DirectionalConv1d 1 directions=forward",
         "a string ends at its length");

  const auto refuses = [](const char* op, const PluginField& field, std::initializer_list<const char*> parts) {
    expect_refusal(std::string(op) + "'s " + field.name, parts, [&] { return create(op, {field}) != nullptr; });
  };
  const double wide = 1;
  const int32_t whole = 6;
  const float none = 1.0f / 0.0f - 1.0f / 0.0f;
  refuses(conv, text("directions", "sideways"), {"msdk::DirectionalConv1d", "forward", "got 'sideways'"});
  refuses(conv, text("directions", ""), {"at least one character", "got 0"});
  refuses(conv, {"directions", nullptr, PluginFieldType::kCHAR, 7}, {"at least one character", "got none"});
  refuses(conv, {"directions", "forward", PluginFieldType::kCHAR, -1}, {"at least one character", "got -1"});
  refuses(conv, {"directions", "forward", PluginFieldType::kINT8, 7}, {"type char", "got PluginFieldType 3"});
  refuses(conv, text("direction", "forward"), {"fields among directions", "got 'direction'"});
  refuses(conv, number("scale", kHalved), {"fields among directions", "got 'scale'"});
  refuses(conv, {"inputs", &whole, PluginFieldType::kINT32, 1}, {"fields among directions", "got 'inputs'"});
  refuses(scan, {"scale", &wide, PluginFieldType::kFLOAT64, 1}, {"type float32", "got PluginFieldType 2"});
  refuses(scan, {"scale", &kHalved, PluginFieldType::kFLOAT32, 2}, {"scale: expected one value", "got 2"});
  refuses(scan, {"scale", nullptr, PluginFieldType::kFLOAT32, 1}, {"scale: expected one value", "got none"});
  refuses(kan, number("grid_min", kHigh), {"grid_min below grid_max", "got 2.0"});
  refuses(kan, number("grid_max", none), {"grid_min below grid_max", "nan"});
  expect_refusal("a field twice", {"scale: expected one field, got several"},
                 [&] { return create(scan, {number("scale", kHalved), number("scale", kHigh)}) != nullptr; });
  expect_refusal("a field without a name", {"every field to have a name"},
                 [&] { return create(scan, {{nullptr, &kHalved, PluginFieldType::kFLOAT32, 1}}) != nullptr; });
  expect_refusal("fields without memory", {"got 2 fields without memory"}, [&] {
    const PluginFieldCollection broken{2, nullptr};
    return Plugin(creator(scan)->createPlugin("node", &broken, TensorRTPhase::kBUILD)) != nullptr;
  });
  for (const int32_t inputs : {-1, 5, 8}) {
    expect_refusal("a plan's number of inputs", {"inputs: expected a plan to say 0 or 6 to 7, got"}, [&] {
      return create(scan, {{"inputs", &inputs, PluginFieldType::kINT32, 1}}, TensorRTPhase::kRUNTIME) != nullptr;
    });
  }
  const std::string endless(5000, 'x');
  log().take();
  expect(!create(conv, {text("directions", endless)}), "an endless direction is refused");
  expect(log().take().size() == 1024, "a message is cut at 1023 characters");
}

// A driver of an older major version of CUDA than the library's is told when the engine is loaded.
void test_driver() {
  for (const char* driver : {"12060", "11080"}) {
    setenv("CUDA_EMULATOR_DRIVER", driver, 1);
    expect_refusal(
        std::string("CUDA driver ") + driver,
        {"msdk::KanLinear", "the NVIDIA driver runs CUDA up to 1", "compiled by CUDA 13.0: update the driver"},
        [] { return create("KanLinear", {}, TensorRTPhase::kRUNTIME) != nullptr; });
  }
  for (const char* driver : {"13000", "13020", "14000", "0"}) {
    setenv("CUDA_EMULATOR_DRIVER", driver, 1);
    expect(create("KanLinear", {}, TensorRTPhase::kRUNTIME) != nullptr,
           std::string("CUDA driver ") + driver + " is enough");
  }
  unsetenv("CUDA_EMULATOR_DRIVER");
}

// Without a logger, messages go to standard error; a finder without one as well.
void test_logger() {
  struct Empty final : ILoggerFinder {
    ILogger* findLogger() override { return nullptr; }
  } empty;
  struct Broken final : ILoggerFinder {
    ILogger* findLogger() override { throw std::runtime_error("no logger here"); }
  } broken;
  for (ILoggerFinder* finder : std::initializer_list<ILoggerFinder*>{nullptr, &empty, &broken}) {
    setLoggerFinder(finder);
    expect(!create("KanLinear", {text("grid_min", "low")}), "refused without a logger");
  }
  setLoggerFinder(&log());
  expect(log().take().empty(), "nothing came to the logger");
}

}  // namespace

int main() {
  test_logger();
  test_creators();
  test_fields();
  test_driver();
  expect(log().take().empty(), "no message is left over");
  return finish();
}
