// The creators of the TensorRT plugins: any fields, of an ONNX node or of a plan, give a plugin that comes back the
// same from what it writes into a plan, or no plugin and one message.

#include "../tensorrt_fixture.h"
#include "bytes.h"

using namespace fixture;

namespace {

// Fields on the heap: each of its data exactly as long as its length says, or absent.
struct Collection {
  std::vector<std::string> names, data;
  std::vector<PluginField> fields;

  explicit Collection(fuzz::Bytes& bytes) {
    const size_t count = static_cast<size_t>(bytes.between(0, 4));
    names.reserve(count);
    data.reserve(count);
    for (size_t i = 0; i < count; ++i) add(bytes);
  }

  void add(fuzz::Bytes& bytes) {
    const bool known = bytes.byte() % 8;
    names.push_back(known ? bytes.one_of<const char*>({"directions", "scale", "grid_min", "grid_max", "inputs",
                                                       "plugin_version", "plugin_namespace"})
                          : bytes.text().c_str());
    const bool is_text = names.back() == "directions", is_count = names.back() == "inputs";
    PluginFieldType type = is_text    ? PluginFieldType::kCHAR
                           : is_count ? PluginFieldType::kINT32
                                      : PluginFieldType::kFLOAT32;
    if (bytes.byte() % 8 == 0) type = static_cast<PluginFieldType>(bytes.byte() % 16 - 1);
    data.push_back(is_text ? fuzz::directions(bytes) : std::string(4, '\0'));
    if (is_count) {
      data.back()[0] = static_cast<char>(bytes.between(0, 8));
    } else if (!is_text) {
      for (char& each : data.back()) each = static_cast<char>(bytes.byte());
    }
    int32_t length = is_text ? static_cast<int32_t>(data.back().size()) : 1;
    if (bytes.byte() % 8 == 0) length = bytes.one_of({0, -1, INT32_MIN});
    data.back().shrink_to_fit();
    const void* where = bytes.byte() % 16 ? data.back().data() : nullptr;
    fields.emplace_back(bytes.byte() % 16 ? names.back().c_str() : nullptr, where, type, length);
  }
};

std::string said_of(IPluginV3& plugin) { return build(plugin)->getMetadataString(); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  setLoggerFinder(&log());
  log().take();
  fuzz::Bytes bytes(data, size);
  const char* op = bytes.one_of<const char*>({"DirectionalConv1d", "BidirectionalSelectiveScan", "KanLinear"});
  const auto phase = bytes.one_of({TensorRTPhase::kBUILD, TensorRTPhase::kRUNTIME});
  const Collection given(bytes);
  const Plugin plugin = create(op, given.fields, phase);
  const std::string message = log().take();
  fuzz::expect(message.empty() == (plugin != nullptr), "a plugin or a message");
  if (!plugin) return 0;
  const Plugin copy(plugin->clone()), again = reloaded(*plugin);
  fuzz::expect(copy && said_of(*copy) == said_of(*plugin), "a clone that is the same");
  fuzz::expect(again && said_of(*again) == said_of(*plugin), "the same plugin from its plan");
  return 0;
}
