// Reading a node's attributes and tensors; what does not fit ends in an Ort::Exception that names expected and actual.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "../scan/contract.h"
#include "ort.h"

namespace msdk::ort {

// A size that a shape asks for: a number, or kAny.
constexpr int64_t kAny = -1;

[[noreturn]] void fail(const std::string& sentence);

// The attribute's value, or `otherwise` where the node does not have it.
float float_attribute(const OrtKernelInfo* info, const char* name, float otherwise);
std::string string_attribute(const OrtKernelInfo* info, const char* name, const char* otherwise);

// The `directions` attribute of a node, parsed.
DirectionList directions_attribute(const OrtKernelInfo* info);

// A float32 input: its shape must have the rank and the sizes of `expected`.
struct Input {
  const float* data;
  std::vector<int64_t> shape;
  int64_t operator[](size_t axis) const { return shape[axis]; }
};
Input float_input(const Ort::KernelContext& context, size_t index, const char* name,
                  std::initializer_list<int64_t> expected);

// True when the node has the optional input `index`.
bool has_input(const Ort::KernelContext& context, size_t index);

float* float_output(const Ort::KernelContext& context, std::initializer_list<int64_t> shape);

}  // namespace msdk::ort
