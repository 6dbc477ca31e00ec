// Reading a node's attributes and tensors; what does not fit ends in an Ort::Exception that names expected and actual.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "onnxruntime/ort.h"
#include "ops/contract.h"

namespace msdk::ort {

// A size that a shape asks for: a number, or kAny.
constexpr int64_t kAny = -1;

[[noreturn]] void fail(const std::string& sentence);

// "x along depth": something along an axis of a volume, 0 is depth.
std::string along(const char* what, int axis);

void check_shape(const char* name, const std::vector<int64_t>& shape, const std::vector<int64_t>& expected);
void check_at_most(const char* what, int64_t value, int64_t most);  // and at least 1
void check_tokens(const DirectionList& directions, int64_t length);

// The attribute's value, or `otherwise` where the node does not have it.
float float_attribute(const OrtKernelInfo* info, const char* name, float otherwise);
std::string string_attribute(const OrtKernelInfo* info, const char* name, const char* otherwise);

// Throws where the node does not have it, or has another number of values than `count`.
std::vector<int64_t> ints_attribute(const OrtKernelInfo* info, const char* name, size_t count);

// The `directions` attribute of a node, parsed.
DirectionList directions_attribute(const OrtKernelInfo* info);

// The same as ConstValue::GetTensorData, which needs API 23.
const void* data_of(const OrtValue* value);

// An input tensor, of T by the op's declared types: its shape must have the rank and the sizes of `expected`.
template <class T>
struct Input {
  const T* data;
  std::vector<int64_t> shape;
  int64_t operator[](size_t axis) const { return shape[axis]; }
};
template <class T>
Input<T> input(const Ort::KernelContext& context, size_t index, const char* name,
               const std::vector<int64_t>& expected) {
  const Ort::ConstValue value = context.GetInput(index);
  if (!value) fail(std::string(name) + ": expected a tensor, got none");
  Input<T> input{static_cast<const T*>(data_of(value)), value.GetTensorTypeAndShapeInfo().GetShape()};
  check_shape(name, input.shape, expected);
  return input;
}

// The same for a tensor of any sizes with at least `rank` axes.
template <class T>
Input<T> input_of_rank_from(const Ort::KernelContext& context, size_t index, const char* name, size_t rank) {
  const Ort::ConstValue value = context.GetInput(index);
  if (!value) fail(std::string(name) + ": expected a tensor, got none");
  const std::vector<int64_t> shape = value.GetTensorTypeAndShapeInfo().GetShape();
  if (shape.size() < rank) {
    fail(std::string(name) + ": expected at least " + std::to_string(rank) + " axes, got " +
         std::to_string(shape.size()));
  }
  return input<T>(context, index, name, std::vector<int64_t>(shape.size(), kAny));
}

// An input that the model holds as a constant, of any shape; none where it comes with each run.
std::optional<Input<float>> constant_input(const OrtKernelInfo* info, size_t index);

// True when the node has the optional input `index`.
bool has_input(const Ort::KernelContext& context, size_t index);

template <class T>
T* output(const Ort::KernelContext& context, const std::vector<int64_t>& shape, size_t index = 0) {
  return context.GetOutput(index, shape.data(), shape.size()).GetTensorMutableData<T>();
}

}  // namespace msdk::ort
