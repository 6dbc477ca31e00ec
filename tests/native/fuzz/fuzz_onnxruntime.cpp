// The ONNX Runtime adaptor, each op on the CPU and, emulated, on CUDA: whatever a node's attributes and tensors are, it
// ends in a sentence, or in an output of which every element is written and no byte outside of a tensor was touched.

#include <cmath>
#include <cstring>

#include "bytes.h"
#include "onnxruntime_stand_in.h"

namespace {

using Shape = std::vector<int64_t>;
constexpr int64_t kMostElements = 20000;

void add_norm(fuzz::Bytes& bytes, int64_t batch, int64_t channels, std::vector<Shape>& shapes) {
  shapes.insert(shapes.end(), {{channels}, {channels}});
  if (bytes.byte() % 4) shapes.push_back({batch, channels, 2});
}

// The inputs of a node that is right for `scans` directions.
std::vector<Shape> right_shapes(fuzz::Bytes& bytes, const std::string& op, int64_t scans) {
  const int64_t batch = bytes.between(1, 2), channels = bytes.one_of<int64_t>({1, 3, 33}),
                tokens = 60 * bytes.between(1, 2);
  if (op == "DirectionalConv1d") {
    return {{batch, channels, tokens}, {scans, channels, bytes.between(1, 17)}, {scans, channels}};
  }
  if (op == "KanLinear") {
    const int64_t outputs = bytes.between(1, 9), bases = bytes.between(3, 12);
    return {{batch, channels, tokens}, {outputs, channels}, {outputs, channels, bases}};
  }
  if (op == "TokenNorm") return {{batch, channels, tokens}, {channels}, {channels}};
  if (op == "TokenLinear") {
    const int64_t outputs = bytes.between(1, 19);
    const bool in_sets = bytes.byte() % 2;
    std::vector<Shape> shapes{{batch, channels, tokens}, {outputs, channels}, {batch, outputs, tokens}};
    if (in_sets) {
      shapes = {{batch, scans, channels, tokens}, {scans, outputs, channels}, {batch, scans, outputs, tokens}};
    }
    if (bytes.byte() % 2) shapes.pop_back();
    return shapes;
  }
  if (op == "Conv3d" || op == "NormConv3d") {
    const auto side = [&] { return bytes.between(1, 7); };
    const int64_t kernel = bytes.one_of<int64_t>({1, 2, 3, 3, 3, 17}), outputs = bytes.between(1, 9);
    std::vector<Shape> shapes{{batch, channels, side(), side(), 4 * side()},
                              {outputs, channels, kernel, kernel, kernel},
                              {bytes.byte() % 4 ? outputs : bytes.between(1, 9)}};
    if (op == "NormConv3d" && bytes.byte() % 4) add_norm(bytes, batch, channels, shapes);
    return shapes;
  }
  if (op == "NormConvTranspose3d") {
    const int64_t outputs = bytes.between(1, 9), skip = bytes.between(0, 2);
    Shape x{batch, channels, bytes.between(1, 3), bytes.between(1, 4), bytes.between(1, 20)};
    Shape weight{channels, outputs, bytes.between(1, 2), bytes.between(1, 2), bytes.between(1, 2)};
    std::vector<Shape> shapes{
        x, weight, {outputs}, {batch, skip, x[2] * weight[2], x[3] * weight[3], x[4] * weight[4]}};
    add_norm(bytes, batch, skip, shapes);
    if (shapes.size() == 7 && bytes.byte() % 2) add_norm(bytes, batch, channels, shapes);
    return shapes;
  }
  if (op == "ConvTranspose3d") {
    const int64_t outputs = bytes.between(1, 9);
    Shape x{batch, channels, bytes.between(1, 3), bytes.between(1, 4), bytes.between(1, 20)};
    Shape weight{channels, outputs, bytes.between(1, 2), bytes.between(1, 2), bytes.between(1, 2)};
    std::vector<Shape> shapes{x, weight, {outputs}};
    if (bytes.byte() % 2) {
      shapes.push_back({batch, bytes.between(0, 2), x[2] * weight[2], x[3] * weight[3], x[4] * weight[4]});
    }
    return shapes;
  }
  if (op == "AveragePool3d") {
    return {{batch, channels, bytes.between(1, 5), bytes.between(1, 5), bytes.between(1, 70)}};
  }
  if (op == "TrilinearUpsample") {
    const int64_t depth = bytes.between(1, 4), height = bytes.between(1, 4), width = bytes.between(1, 20);
    std::vector<Shape> shapes{{batch, channels, depth, height, width}};
    if (bytes.byte() % 2) shapes.push_back({batch, channels, 2 * depth, 2 * height, 2 * width});
    return shapes;
  }
  const int64_t states = bytes.one_of<int64_t>({1, 8, 16, 3, 17, 64, 65}), rank = bytes.between(1, 4);
  std::vector<Shape> shapes{{batch, scans, channels, tokens}, {batch, scans, rank + 2 * states, tokens}};
  shapes.insert(shapes.end(), {{scans, channels, rank}, {scans, channels}, {scans, channels, states}});
  shapes.push_back({scans, channels});
  if (bytes.byte() % 2) shapes.push_back({batch, channels, tokens});
  return shapes;
}

void spoil(fuzz::Bytes& bytes, Shape& shape) {
  if (shape.empty()) return;
  int64_t& size = shape[bytes.byte() % shape.size()];
  switch (bytes.byte() % 4) {
    case 0:
      size = bytes.one_of<int64_t>({0, 1, 2, 4, int64_t{1} << 31, int64_t{1} << 40});
      break;
    case 1:
      ++size;
      break;
    case 2:
      shape.pop_back();
      break;
    default:
      shape.push_back(1);
  }
}

bool affordable(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size > 0 && count > INT64_MAX / size) return false;
    count *= size;
  }
  return count <= kMostElements;
}

// From -1 to 1, those of A from -2 to 0.
void fill(fuzz::Bytes& bytes, OrtValue& tensor, ONNXTensorElementDataType type, bool is_A) {
  const bool is_half = type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
             is_double = type == ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE;
  stand_in::allocate(tensor, is_half ? 2 : is_double ? 8 : 4);
  if (is_double) {
    std::fill_n(reinterpret_cast<double*>(tensor.data.get()), tensor.elements(), 0.5);
    return;
  }
  uint32_t state = bytes.any<uint32_t>();
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    state = state * 1664525u + 1013904223u;
    const float value = static_cast<float>(state >> 8) * 0x1p-23f - (is_A ? 2 : 1);
    const uint16_t half = static_cast<uint16_t>((state >> 16 & 0x8000u) | (0x2c00u + (state >> 20 & 0xfffu)));
    is_half ? std::memcpy(&tensor.data[2 * i], &half, 2) : std::memcpy(&tensor.data[4 * i], &value, 4);
  }
}

// Whether the call succeeded; a refusal has a sentence.
bool succeeded(OrtStatus* status) {
  const std::unique_ptr<OrtStatus> owned(status);
  fuzz::expect(!owned || owned->message.size() > 10, "a sentence");
  return !owned;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Bytes bytes(data, size);
  const OrtCustomOp* op = bytes.element_of(stand_in::ops());
  const std::string name = op->GetName(op);
  OrtKernelInfo info;
  const std::string directions = fuzz::directions(bytes);
  if (bytes.byte() % 8) info.texts["directions"] = directions;
  for (const char* attribute : {"scale", "grid_min", "grid_max", "epsilon"}) {
    if (bytes.byte() % 2) info.numbers[attribute] = bytes.one_of({0.5f, -1.5f, 2.0f, 0.0f, 1e-40f, 3e38f, HUGE_VALF});
  }

  for (const auto& [attribute, count] : {std::pair{"strides", 3}, {"pads", 6}, {"kernel", 3}}) {
    info.lists[attribute].resize(bytes.byte() % 16 ? count : 4, bytes.byte() % 2);
    info.lists[attribute][0] = bytes.one_of<int64_t>({0, 1, 1, 2, -1, int64_t{1} << 62});
  }
  info.integers["group"] = bytes.one_of<int64_t>({1, 1, 1, 3, 0, int64_t{1} << 62});

  const int64_t scans = 1 + std::count(directions.begin(), directions.end(), ',');
  std::vector<Shape> shapes = right_shapes(bytes, name, scans);
  if (name.find("ConvTranspose3d") != std::string::npos && bytes.byte() % 8) {
    info.lists["strides"].assign(shapes[1].begin() + 2, shapes[1].end());  // its kernel
  }
  if (name == "AveragePool3d" && bytes.byte() % 8) {
    info.lists["kernel"] = {bytes.between(1, 2), bytes.between(1, 2), bytes.between(1, 2)};
  }
  for (int64_t changes = bytes.between(0, 5) - 3; changes > 0; --changes) {
    spoil(bytes, shapes[bytes.byte() % shapes.size()]);
  }
  if (!std::all_of(shapes.begin(), shapes.end(), affordable)) return 0;

  void* kernel = nullptr;
  if (!succeeded(op->CreateKernelV2(op, &Ort::GetApi(), &info, &kernel))) return 0;
  const auto is_half = [](ONNXTensorElementDataType type) { return type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16; };
  OrtKernelContext context{{}, is_half(op->GetOutputType(op, 0)) ? size_t{2} : size_t{4}, {}};
  context.has_moments = op->GetOutputTypeCount(op) > 1 && bytes.byte() % 4;
  for (size_t i = 0; i < shapes.size(); ++i) {
    context.inputs.push_back(std::make_unique<OrtValue>(OrtValue{shapes[i], nullptr}));
    fill(bytes, *context.inputs[i], op->GetInputType(op, i), shapes.size() > 3 && i == 4);
  }
  if (bytes.byte() % 8 == 1) bytes.element_of(context.inputs).reset();
  if (succeeded(op->KernelComputeV2(kernel, &context))) {
    const std::string poison(context.output_bytes, '\xff');
    for (int64_t i = 0; i < context.output.elements(); ++i) {
      const char* element = &context.output.data[i * context.output_bytes];
      fuzz::expect(std::memcmp(element, poison.data(), poison.size()) != 0, "every element of the output written");
    }
    const std::string of_double(sizeof(double), '\xff');
    for (int64_t i = 0; context.has_moments && i < context.moments.elements(); ++i) {
      const char* element = &context.moments.data[i * sizeof(double)];
      fuzz::expect(std::memcmp(element, of_double.data(), of_double.size()) != 0, "every moment written");
    }
  }
  op->KernelDestroy(kernel);
  return 0;
}
