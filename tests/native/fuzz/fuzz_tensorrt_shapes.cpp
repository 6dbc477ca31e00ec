// The methods of the TensorRT plugins on any shapes, types, formats and numbers of tensors: accepted or refused with a
// message; and where the shapes of a run are accepted, it works, and touches no byte outside of a tensor.

#include "../tensorrt_cases.h"
#include "bytes.h"

using namespace fixture;

namespace {

constexpr int64_t kMostElements = 20000;
constexpr size_t kMostWorkspace = size_t{1} << 24;  // bytes; bounds of a profile may ask for what no memory has
constexpr int kMost = 9;                            // tensors, more than any op has

Node drawn_node(fuzz::Bytes& bytes) {
  const DataType T = bytes.one_of({DataType::kFLOAT, DataType::kHALF});
  static const std::string lists[] = {"forward", "backward,slices:5", "slices:3:backward,forward,slices:4"};
  const size_t scans = 1 + bytes.byte() % 3;
  const std::string& list = lists[scans - 1];
  const int64_t batch = bytes.between(1, 2), channels = bytes.one_of<int64_t>({1, 3, 33}), length = 60;
  const int64_t K = static_cast<int64_t>(scans), states = bytes.one_of<int64_t>({1, 8, 16, 17});
  switch (bytes.byte() % 3) {
    case 0:
      return conv_node(T, batch, channels, length, bytes.between(1, 17), list, K);
    case 1:
      return scan_node(T, batch, channels, length, states, bytes.between(1, 4), list, K, kHalved, bytes.byte() % 2);
    default:
      return kan_node(T, batch, channels, bytes.between(1, 9), length, bytes.between(3, 12), kLow, kHigh);
  }
}

void spoil(fuzz::Bytes& bytes, DynamicPluginTensorDesc& tensor) {
  Dims& shape = *bytes.one_of({&tensor.desc.dims, &tensor.min, &tensor.opt, &tensor.max});
  switch (bytes.byte() % 5) {
    case 0:
      shape.nbDims = static_cast<int32_t>(bytes.between(-1, Dims::MAX_DIMS));
      break;
    case 1:
      tensor.desc.type = static_cast<DataType>(bytes.byte() % 16);
      break;
    case 2:
      tensor.desc.format = static_cast<TensorFormat>(bytes.byte() % 16);
      break;
    default:
      shape.d[bytes.byte() % 4] = bytes.one_of<int64_t>(
          {-1, 0, 1, 2, 3, 8, 64, INT32_MAX, int64_t{1} << 31, int64_t{1} << 62, INT64_MAX, INT64_MIN});
  }
}

size_t bytes_of(const PluginTensorDesc& desc) {
  int64_t count = 1;
  for (int axis = 0; axis < desc.dims.nbDims; ++axis) {
    if (desc.dims.d[axis] > kMostElements / count) return SIZE_MAX;
    count *= desc.dims.d[axis];
  }
  return static_cast<size_t>(count) * (desc.type == DataType::kHALF ? 2 : 4);
}

void run(IPluginV3& plugin, const std::vector<PluginTensorDesc>& all, size_t workspace_bytes, uint32_t state) {
  std::vector<std::vector<uint16_t>> memory;
  for (const PluginTensorDesc& desc : all) {
    if (bytes_of(desc) > 4 * kMostElements) return;
    memory.emplace_back(bytes_of(desc) / 2);
    for (uint16_t& half : memory.back()) half = static_cast<uint16_t>((state = state * 1664525u + 1u) >> 16 & 0xbbffu);
  }
  std::vector<const void*> inputs;
  for (size_t i = 0; i + 1 < all.size(); ++i) inputs.push_back(memory[i].data());
  std::fill(memory.back().begin(), memory.back().end(), uint16_t{0xffff});
  void* const output = memory.back().data();
  void* workspace = nullptr;
  fuzz::expect(posix_memalign(&workspace, 256, workspace_bytes) == 0, "memory");
  fuzz::expect(runtime(plugin)->enqueue(all.data(), &all.back(), inputs.data(), &output, workspace, nullptr) == 0,
               "a run of shapes that were accepted");
  std::free(workspace);
  const size_t step = all.back().type == DataType::kHALF ? 1 : 2;
  for (size_t i = step - 1; i < memory.back().size(); i += step) {
    fuzz::expect(memory.back()[i] != 0xffff, "every element of the output written");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  setLoggerFinder(&log());
  fuzz::Bytes bytes(data, size);
  const Node node = drawn_node(bytes);
  const Plugin plugin = create(node.op, node.fields);
  std::vector<DynamicPluginTensorDesc> all = fixed(node.all());
  for (int64_t changes = bytes.between(0, 5) - 2; changes > 0; --changes) spoil(bytes, all[bytes.byte() % all.size()]);
  int32_t count = node.count();
  if (bytes.byte() % 8 == 1) count += static_cast<int32_t>(bytes.between(-1, 1));
  DynamicPluginTensorDesc output = all.back();
  all.resize(kMost, output);
  std::swap(all[static_cast<size_t>(count)], output);

  IPluginV3OneBuild& building = *build(*plugin);
  std::vector<DataType> types;
  std::vector<DimsExprs> shapes;
  std::vector<PluginTensorDesc> descs;
  ExpressionBuilder expressions;
  for (const DynamicPluginTensorDesc& tensor : all) {
    types.push_back(tensor.desc.type);
    shapes.push_back(expressions.shape(tensor.desc.dims));
    descs.push_back(tensor.desc);
  }
  DimsExprs output_shape{};
  building.getOutputDataTypes(types.data() + count, 1, types.data(), count);
  building.getOutputShapes(shapes.data(), count, nullptr, 0, &output_shape, 1, expressions);
  for (int32_t position = -1; position <= count + 1; ++position) {
    building.supportsFormatCombination(position, all.data(), count, 1);
  }
  const DynamicPluginTensorDesc& out = all[static_cast<size_t>(count)];
  building.configurePlugin(all.data(), count, &out, 1);
  const size_t workspace = building.getWorkspaceSize(all.data(), count, &out, 1);
  const bool fits = runtime(*plugin)->onShapeChange(descs.data(), count, &descs[static_cast<size_t>(count)], 1) == 0;
  descs.resize(static_cast<size_t>(count) + 1);
  if (fits && workspace <= kMostWorkspace && bytes.byte() % 4 == 0)
    run(*plugin, descs, workspace, bytes.any<uint32_t>());
  fixture::log().take();
  return 0;
}
