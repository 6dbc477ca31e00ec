// Stands in for TensorRT beside a plugin: a logger, dimension expressions, tensor descriptions.
#pragma once

#include <NvInferRuntime.h>

#include <cstdio>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

extern "C" void setLoggerFinder(nvinfer1::ILoggerFinder* finder);
extern "C" nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count);

namespace fixture {

using namespace nvinfer1;

inline int failures = 0, checks = 0;

inline void expect(bool ok, const std::string& what) {
  ++checks;
  if (ok) return;
  std::printf("FAILED %s\n", what.c_str());
  ++failures;
}

class Log final : public ILogger, public ILoggerFinder {
 public:
  void log(Severity severity, const char* message) noexcept override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (severity != Severity::kERROR) expect(false, std::string("an error is logged as one: ") + message);
    messages_.push_back(message);
  }
  ILogger* findLogger() override { return this; }

  // The messages since the last call, one a line.
  std::string take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::string all;
    for (const std::string& message : messages_) all += message + "\n";
    messages_.clear();
    return all;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> messages_;
};

inline Log& log() {
  static Log instance;
  return instance;
}

// f must refuse, and say each of `parts` in one message.
inline void expect_refusal(const std::string& what, std::initializer_list<const char*> parts,
                           const std::function<bool()>& accepted) {
  log().take();
  expect(!accepted(), what + " is refused");
  const std::string said = log().take();
  for (const char* part : parts) {
    expect(said.find(part) != std::string::npos, what + ": expected '" + part + "' in the log, got '" + said + "'");
  }
  expect(said.find('\n') + 1 == said.size(), what + ": expected one message, got '" + said + "'");
}

// An integer expression over sizes that are known only when the engine runs. TensorRT's own has no public constructor.
class Expression final : public IDimensionExpr, private apiv::VDimensionExpr {
 public:
  Expression(bool constant, std::function<int64_t()> value) : constant_(constant), value_(std::move(value)) {
    mImpl = this;
  }
  int64_t value() const { return value_(); }

 private:
  bool isConstant() const override { return constant_; }
  int64_t getConstantValue() const override { return constant_ ? value_() : std::numeric_limits<int64_t>::min(); }
  bool isSizeTensor() const override { return false; }

  bool constant_;
  std::function<int64_t()> value_;
};

class ExpressionBuilder final : public IExprBuilder, private apiv::VExprBuilder {
 public:
  ExpressionBuilder() { mImpl = this; }

  const Expression* variable(const int64_t& size) {
    return keep(false, [&size] { return size; });
  }

  DimsExprs shape(std::initializer_list<const IDimensionExpr*> sizes) {
    DimsExprs shape{};
    for (const IDimensionExpr* size : sizes) shape.d[shape.nbDims++] = size;
    return shape;
  }

  // Constants throughout; -1 gives a size that is not constant.
  DimsExprs shape(const Dims& sizes) {
    static const int64_t unknown = 5;
    DimsExprs shape{sizes.nbDims, {}};
    for (int axis = 0; axis < sizes.nbDims; ++axis) {
      shape.d[axis] = sizes.d[axis] == -1 ? variable(unknown) : IExprBuilder::constant(sizes.d[axis]);
    }
    return shape;
  }

 private:
  const IDimensionExpr* constant(int64_t value) override {
    return keep(true, [value] { return value; });
  }

  const IDimensionExpr* operation(DimensionOperation op, const IDimensionExpr& first,
                                  const IDimensionExpr& second) override {
    const auto apply = [op, a = &first, b = &second]() -> int64_t {
      const int64_t x = static_cast<const Expression*>(a)->value(), y = static_cast<const Expression*>(b)->value();
      switch (op) {
        case DimensionOperation::kSUM:
          return x + y;
        case DimensionOperation::kPROD:
          return x * y;
        case DimensionOperation::kMAX:
          return x > y ? x : y;
        case DimensionOperation::kMIN:
          return x < y ? x : y;
        case DimensionOperation::kSUB:
          return x - y;
        case DimensionOperation::kEQUAL:
          return x == y;
        case DimensionOperation::kLESS:
          return x < y;
        case DimensionOperation::kFLOOR_DIV:
          return x / y;
        case DimensionOperation::kCEIL_DIV:
          return (x + y - 1) / y;
      }
      return -1;
    };
    return keep(first.isConstant() && second.isConstant(), apply);
  }

  const IDimensionExpr* declareSizeTensor(int32_t, const IDimensionExpr&, const IDimensionExpr&) override {
    expect(false, "no plugin declares a size tensor");
    return nullptr;
  }

  const Expression* keep(bool constant, std::function<int64_t()> value) {
    kept_.push_back(std::make_unique<Expression>(constant, std::move(value)));
    return kept_.back().get();
  }

  std::vector<std::unique_ptr<Expression>> kept_;
};

inline Dims dims(std::initializer_list<int64_t> sizes) {
  Dims shape{0, {}};
  for (const int64_t size : sizes) shape.d[shape.nbDims++] = size;
  return shape;
}

inline bool same(const Dims& a, const Dims& b) {
  bool equal = a.nbDims == b.nbDims;
  for (int axis = 0; equal && axis < a.nbDims; ++axis) equal = a.d[axis] == b.d[axis];
  return equal;
}

inline PluginTensorDesc tensor(DataType type, const Dims& shape) { return {shape, type, TensorFormat::kLINEAR, -1}; }

// A profile in which every size is fixed.
inline DynamicPluginTensorDesc fixed(const PluginTensorDesc& desc) { return {desc, desc.dims, desc.dims, desc.dims}; }

inline std::vector<DynamicPluginTensorDesc> fixed(const std::vector<PluginTensorDesc>& tensors) {
  std::vector<DynamicPluginTensorDesc> all;
  for (const PluginTensorDesc& desc : tensors) all.push_back(fixed(desc));
  return all;
}

inline IPluginCreatorV3One* creator(std::string_view name) {
  int32_t count = 0;
  IPluginCreatorInterface* const* all = getCreators(count);
  for (int i = 0; i < count; ++i) {
    IPluginCreatorV3One* one = static_cast<IPluginCreatorV3One*>(all[i]);
    if (one->getPluginName() == name) return one;
  }
  return nullptr;
}

using Plugin = std::unique_ptr<IPluginV3>;

inline Plugin create(std::string_view op, const std::vector<PluginField>& fields,
                     TensorRTPhase phase = TensorRTPhase::kBUILD) {
  const PluginFieldCollection collection{static_cast<int32_t>(fields.size()), fields.data()};
  return Plugin(creator(op)->createPlugin("node", &collection, phase));
}

inline PluginField text(const char* name, std::string_view value) {
  return {name, value.data(), PluginFieldType::kCHAR, static_cast<int32_t>(value.size())};
}
inline PluginField number(const char* name, const float& value) { return {name, &value, PluginFieldType::kFLOAT32, 1}; }

inline IPluginV3OneCore* core(IPluginV3& plugin) {
  return static_cast<IPluginV3OneCore*>(plugin.getCapabilityInterface(PluginCapabilityType::kCORE));
}
inline IPluginV3OneBuild* build(IPluginV3& plugin) {
  return static_cast<IPluginV3OneBuild*>(plugin.getCapabilityInterface(PluginCapabilityType::kBUILD));
}
inline IPluginV3OneRuntime* runtime(IPluginV3& plugin) {
  return static_cast<IPluginV3OneRuntime*>(plugin.getCapabilityInterface(PluginCapabilityType::kRUNTIME));
}

// The plugin that an engine makes of what this one writes into a plan. The bytes are copied, as a plan does.
inline Plugin reloaded(IPluginV3& plugin) {
  const PluginFieldCollection* stored = runtime(plugin)->getFieldsToSerialize();
  std::vector<std::vector<char>> bytes;
  std::vector<PluginField> fields(stored->fields, stored->fields + stored->nbFields);
  for (PluginField& field : fields) {
    const size_t each = field.type == PluginFieldType::kCHAR ? 1 : 4;
    const char* data = static_cast<const char*>(field.data);
    bytes.emplace_back(data, data + each * static_cast<size_t>(field.length));
    field.data = bytes.back().data();
  }
  return create(core(plugin)->getPluginName(), fields, TensorRTPhase::kRUNTIME);
}

// A plan hides sizes that are given only at run time.
inline Dims open(Dims shape, std::initializer_list<int> axes) {
  for (const int axis : axes) shape.d[axis] = -1;
  return shape;
}

inline int finish() {
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures ? 1 : 0;
}

}  // namespace fixture
