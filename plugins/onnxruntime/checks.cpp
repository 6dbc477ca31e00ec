#include "onnxruntime/checks.h"

#include "ops/directions.h"

namespace msdk::ort {
namespace {

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    text += (axis ? ", " : "") + (shape[axis] == kAny ? std::string("any") : std::to_string(shape[axis]));
  }
  return text + ")";
}

bool fits(const std::vector<int64_t>& shape, const std::vector<int64_t>& expected) {
  if (shape.size() != expected.size()) return false;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (expected[axis] != kAny && shape[axis] != expected[axis]) return false;
  }
  return true;
}

// True when the node has the attribute. ONNX Runtime answers one that is missing, and one of another type, with the
// same code: only the message tells them apart.
bool has_attribute(const char* name, OrtStatus* status) {
  if (status == nullptr) return true;
  const std::string message = Ort::GetApi().GetErrorMessage(status);
  Ort::GetApi().ReleaseStatus(status);
  if (message.find("No attribute") == std::string::npos) fail(std::string(name) + ": " + message);
  return false;
}

}  // namespace

void fail(const std::string& sentence) { throw Ort::Exception(sentence, ORT_INVALID_ARGUMENT); }

void check_shape(const char* name, const std::vector<int64_t>& shape, const std::vector<int64_t>& expected) {
  if (!fits(shape, expected)) {
    fail(std::string(name) + ": expected shape " + text_of(expected) + ", got " + text_of(shape));
  }
}

void check_at_most(const char* what, int64_t value, int64_t most) {
  if (value < 1 || value > most) {
    fail(std::string(what) + ": expected 1 to " + std::to_string(most) + ", got " + std::to_string(value));
  }
}

void check_tokens(const DirectionList& directions, int64_t length) {
  const std::string problem = check_directions(directions, length);
  if (!problem.empty()) fail(problem);
}

float float_attribute(const OrtKernelInfo* info, const char* name, float otherwise) {
  float value = otherwise;
  return has_attribute(name, Ort::GetApi().KernelInfoGetAttribute_float(info, name, &value)) ? value : otherwise;
}

std::string string_attribute(const OrtKernelInfo* info, const char* name, const char* otherwise) {
  size_t size = 0;
  if (!has_attribute(name, Ort::GetApi().KernelInfoGetAttribute_string(info, name, nullptr, &size))) return otherwise;
  std::string value(size, '\0');
  Ort::ThrowOnError(Ort::GetApi().KernelInfoGetAttribute_string(info, name, value.data(), &size));
  value.resize(size - 1);  // the size counts the terminating NUL
  return value;
}

std::vector<int64_t> ints_attribute(const OrtKernelInfo* info, const char* name, size_t count) {
  size_t size = 0;
  const bool given = has_attribute(name, Ort::GetApi().KernelInfoGetAttributeArray_int64(info, name, nullptr, &size));
  if (!given || size != count) {
    fail(std::string(name) + ": expected " + std::to_string(count) + " numbers, got " +
         (given ? std::to_string(size) : "none"));
  }
  std::vector<int64_t> values(size);
  Ort::ThrowOnError(Ort::GetApi().KernelInfoGetAttributeArray_int64(info, name, values.data(), &size));
  return values;
}

DirectionList directions_attribute(const OrtKernelInfo* info) {
  DirectionList directions;
  const std::string problem = parse_directions(string_attribute(info, "directions", "forward,backward"), directions);
  if (!problem.empty()) fail(problem);
  return directions;
}

std::string along(const char* what, int axis) {
  constexpr const char* axes[] = {"depth", "height", "width"};
  return std::string(what) + " along " + axes[axis];
}

const void* data_of(const OrtValue* value) {
  void* data = nullptr;
  Ort::ThrowOnError(Ort::GetApi().GetTensorMutableData(const_cast<OrtValue*>(value), &data));
  return data;
}

std::optional<Input<float>> constant_input(const OrtKernelInfo* info, size_t index) {
  int constant = 0;
  const OrtValue* value = nullptr;
  Ort::ThrowOnError(Ort::GetApi().KernelInfoGetConstantInput_tensor(info, index, &constant, &value));
  if (!constant) return std::nullopt;
  return Input<float>{static_cast<const float*>(data_of(value)),
                      Ort::ConstValue{value}.GetTensorTypeAndShapeInfo().GetShape()};
}

bool has_input(const Ort::KernelContext& context, size_t index) {
  return index < context.GetInputCount() && context.GetInput(index) != nullptr;
}

}  // namespace msdk::ort
