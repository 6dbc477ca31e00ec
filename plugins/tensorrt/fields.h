// Reads the attributes of a plugin from the fields that TensorRT's ONNX parser, its Python API or a plan passes.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

#include "ops/contract.h"

namespace msdk::tensorrt {

class Fields {
 public:
  // Null is no field at all. Throws PluginError where the collection itself is broken.
  explicit Fields(const nvinfer1::PluginFieldCollection* collection);

  // The field's value, or `otherwise` where it is not there. Throws PluginError for another type or length.
  float number(const char* name, float otherwise);
  int32_t integer(const char* name, int32_t otherwise);
  std::string text(const char* name, const char* otherwise);

  // Throws PluginError when there is a field that nobody asked for: a misspelt name must not become a default.
  // plugin_version and plugin_namespace, which chose the plugin, are let pass.
  void refuse_others() const;

 private:
  const nvinfer1::PluginField* find(const char* name, nvinfer1::PluginFieldType type, const char* type_name);

  std::vector<nvinfer1::PluginField> fields_;
  std::vector<std::string> asked_;
};

// The attribute `directions`: as written, and parsed.
struct Directions {
  explicit Directions(Fields& fields);
  nvinfer1::PluginField field() const;  // refers to this object

  std::string text;
  DirectionList list;
};

nvinfer1::PluginField number_field(const char* name, const float& value);  // refers to the value

// "directions=forward,backward;scale=0.5"
std::string text_of(const std::vector<nvinfer1::PluginField>& fields);

}  // namespace msdk::tensorrt
