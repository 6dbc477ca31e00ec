// Checks of the ops' tensors. Shapes are nvinfer1::Dims, in which -1 is a size that is not known yet.
#pragma once

#include <NvInferRuntime.h>

#include <initializer_list>
#include <string>

#include "ops/contract.h"

namespace msdk::tensorrt {

constexpr int64_t kAny = -1;
constexpr int kMaxInputs = 7;

// Data tensors share one type, float32 or float16; parameters are float32.
enum class Role { kData, kParameter };

struct InputSpec {
  const char* name;
  Role role;
};

// One size of an output: that of an input, or a constant where `input` is negative.
struct OutputSize {
  int input;
  int axis;
  int64_t constant = 0;
};

std::string text_of(const nvinfer1::Dims& shape);

// Each throws PluginError. A size that is not known fits everything.

// Rank and sizes.
void expect_shape(const char* tensor, const nvinfer1::Dims& actual, std::initializer_list<int64_t> expected);
void expect_shape(const char* tensor, const nvinfer1::Dims& actual, const nvinfer1::Dims& expected);

void expect_between(const char* what, int64_t value, int64_t least, int64_t most);

// Every direction fits so many tokens.
void expect_tokens(const DirectionList& directions, int64_t length);

// Linear format, and the type that `role` asks for beside data tensors of type `data`.
void expect_format(const char* tensor, const nvinfer1::PluginTensorDesc& desc, Role role, nvinfer1::DataType data);

// The same as an answer.
bool format_fits(const nvinfer1::PluginTensorDesc& desc, Role role, nvinfer1::DataType data);

bool is_data_type(nvinfer1::DataType type);

// The sizes that are constants; -1 for the others.
nvinfer1::Dims known_sizes(const nvinfer1::DimsExprs& shape);

}  // namespace msdk::tensorrt
