#include "tensorrt/fields.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "ops/directions.h"
#include "tensorrt/log.h"

namespace msdk::tensorrt {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

Fields::Fields(const nvinfer1::PluginFieldCollection* collection) {
  if (!collection) return;
  if (collection->nbFields < 0 || (collection->nbFields > 0 && !collection->fields)) {
    fail("expected a collection of fields, got " + std::to_string(collection->nbFields) + " fields without memory");
  }
  fields_.assign(collection->fields, collection->fields + collection->nbFields);
  for (const PluginField& field : fields_) {
    if (!field.name) fail("expected every field to have a name, got one without");
  }
}

const PluginField* Fields::find(const char* name, PluginFieldType type, const char* type_name) {
  asked_.push_back(name);
  const auto named = [name](const PluginField& field) { return std::string_view(field.name) == name; };
  const auto field = std::find_if(fields_.begin(), fields_.end(), named);
  if (field == fields_.end()) return nullptr;
  if (std::any_of(field + 1, fields_.end(), named)) fail(std::string(name) + ": expected one field, got several");
  if (field->type != type) {
    fail(std::string(name) + ": expected a field of type " + type_name + ", got PluginFieldType " +
         std::to_string(static_cast<int32_t>(field->type)));
  }
  const bool scalar = type != PluginFieldType::kCHAR;
  if (!field->data || (scalar ? field->length != 1 : field->length < 1)) {
    fail(std::string(name) + ": expected " + (scalar ? "one value" : "at least one character") + ", got " +
         (field->data ? std::to_string(field->length) : "none"));
  }
  return &*field;
}

float Fields::number(const char* name, float otherwise) {
  const PluginField* field = find(name, PluginFieldType::kFLOAT32, "float32");
  return field ? *static_cast<const float*>(field->data) : otherwise;
}

int32_t Fields::integer(const char* name, int32_t otherwise) {
  const PluginField* field = find(name, PluginFieldType::kINT32, "int32");
  return field ? *static_cast<const int32_t*>(field->data) : otherwise;
}

std::string Fields::text(const char* name, const char* otherwise) {
  const PluginField* field = find(name, PluginFieldType::kCHAR, "char");
  if (!field) return otherwise;
  // Some callers count a terminating NUL in the length, others send none.
  std::string value(static_cast<const char*>(field->data), static_cast<size_t>(field->length));
  value.erase(value.find_last_not_of('\0') + 1);
  return value;
}

void Fields::refuse_others() const {
  for (const PluginField& field : fields_) {
    const std::string name = field.name;
    if (name == "plugin_version" || name == "plugin_namespace") continue;
    if (std::find(asked_.begin(), asked_.end(), name) != asked_.end()) continue;
    std::string known;
    for (const std::string& asked : asked_) known += (known.empty() ? "" : ", ") + asked;
    fail("expected fields among " + known + ", got '" + name + "'");
  }
}

Directions::Directions(Fields& fields) : text(fields.text("directions", "forward,backward")) {
  const std::string problem = parse_directions(text, list);
  if (!problem.empty()) fail(problem);
}

PluginField Directions::field() const {
  return {"directions", text.data(), PluginFieldType::kCHAR, static_cast<int32_t>(text.size())};
}

PluginField number_field(const char* name, const float& value) { return {name, &value, PluginFieldType::kFLOAT32, 1}; }

std::string text_of(const std::vector<PluginField>& fields) {
  std::string all;
  for (const PluginField& field : fields) {
    all += std::string(all.empty() ? "" : ";") + field.name + "=";
    char number[32];
    switch (field.type) {
      case PluginFieldType::kCHAR:
        all.append(static_cast<const char*>(field.data), static_cast<size_t>(field.length));
        break;
      case PluginFieldType::kFLOAT32:
        std::snprintf(number, sizeof(number), "%.9g", *static_cast<const float*>(field.data));
        all += number;
        break;
      default:
        fail(std::string(field.name) + ": expected a field of type char or float32");
    }
  }
  return all;
}

}  // namespace msdk::tensorrt
