#include "tensorrt/tensors.h"

#include <algorithm>

#include "ops/directions.h"
#include "tensorrt/log.h"

namespace msdk::tensorrt {

using nvinfer1::DataType;
using nvinfer1::Dims;

std::string text_of(const Dims& shape) {
  std::string text = "(";
  for (int axis = 0; axis < shape.nbDims; ++axis) {
    text += (axis ? ", " : "") + (shape.d[axis] == kAny ? std::string("any") : std::to_string(shape.d[axis]));
  }
  return text + ")";
}

void expect_shape(const char* tensor, const Dims& actual, const Dims& expected) {
  bool fits = actual.nbDims == expected.nbDims;
  for (int axis = 0; fits && axis < expected.nbDims; ++axis) {
    const int64_t a = actual.d[axis], b = expected.d[axis];
    fits = (a == kAny || a >= 1) && (a == kAny || b == kAny || a == b);
  }
  if (!fits) {
    fail(std::string(tensor) + ": expected shape " + text_of(expected) + ", every size at least 1, got " +
         text_of(actual));
  }
}

void expect_shape(const char* tensor, const Dims& actual, std::initializer_list<int64_t> expected) {
  Dims wanted{static_cast<int32_t>(expected.size()), {}};
  std::copy(expected.begin(), expected.end(), wanted.d);
  expect_shape(tensor, actual, wanted);
}

void expect_between(const char* what, int64_t value, int64_t least, int64_t most) {
  if (value == kAny || (value >= least && value <= most)) return;
  fail(std::string(what) + ": expected " + std::to_string(least) + " to " + std::to_string(most) + ", got " +
       std::to_string(value));
}

void expect_tokens(const DirectionList& directions, int64_t length) {
  if (length == kAny) return;
  const std::string problem = check_directions(directions, length);
  if (!problem.empty()) fail(problem);
}

bool is_data_type(DataType type) { return type == DataType::kFLOAT || type == DataType::kHALF; }

bool format_fits(const nvinfer1::PluginTensorDesc& desc, Role role, DataType data) {
  if (desc.format != nvinfer1::TensorFormat::kLINEAR) return false;
  return role == Role::kParameter ? desc.type == DataType::kFLOAT : is_data_type(desc.type) && desc.type == data;
}

void expect_format(const char* tensor, const nvinfer1::PluginTensorDesc& desc, Role role, DataType data) {
  if (format_fits(desc, role, data)) return;
  const char* wanted = role == Role::kParameter ? "float32" : "float32 or float16, the same for all data tensors,";
  fail(std::string(tensor) + ": expected " + wanted + " in linear format, got DataType " +
       std::to_string(static_cast<int32_t>(desc.type)) + " in TensorFormat " +
       std::to_string(static_cast<int32_t>(desc.format)));
}

Dims known_sizes(const nvinfer1::DimsExprs& shape) {
  Dims sizes{shape.nbDims, {}};
  for (int axis = 0; axis < shape.nbDims; ++axis) {
    sizes.d[axis] = shape.d[axis]->isConstant() ? shape.d[axis]->getConstantValue() : kAny;
  }
  return sizes;
}

}  // namespace msdk::tensorrt
