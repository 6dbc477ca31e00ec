// Common to every msdk op in TensorRT: the plugin with its three capabilities, and its creator.
//
// Op, a value made from its fields, has:
//   kName, kInputs (an array of InputSpec, data first), kOptionalInputs (the last ones), kOutput (its name)
//   explicit Op(Fields&)
//   std::vector<PluginField> fields() const              its attributes; refer to the object
//   void check(const Dims* in, int count) const          throws PluginError; sizes may be unknown
//   std::vector<OutputSize> output() const
//   size_t workspace<T>(const Dims* in, int count) const                       every size known
//   const char* enqueue<T>(const Call&) const                                  T is float or Half
#pragma once

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>

#include "cuda/driver.h"
#include "cuda/stream.h"
#include "tensorrt/fields.h"
#include "tensorrt/log.h"
#include "tensorrt/tensors.h"

namespace msdk::tensorrt {

inline constexpr const char* kNamespace = "msdk";
inline constexpr const char* kVersion = "1";
static_assert(kOpsVersion == 1, "a new version of the ops is a new version of the plugins");

struct Call {
  const nvinfer1::Dims* shapes;  // of the inputs, all sizes known and checked
  int count;
  const void* const* inputs;
  void* output;
  void* workspace;
  cuda::Stream stream;
};

template <class Op>
class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuild,
                     public nvinfer1::IPluginV3OneRuntime {
 public:
  // `inputs` is how many tensors the node has; 0 where that is not known yet.
  Plugin(const Op& op, int32_t inputs) : op_(op), inputs_(inputs), fields_(op_.fields()) {
    description_ = std::string(kNamespace) + "::" + Op::kName + " " + kVersion;
    if (!fields_.empty()) description_ += " " + text_of(fields_);
    fields_.emplace_back("inputs", &inputs_, nvinfer1::PluginFieldType::kINT32, 1);
    collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
  }
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
    switch (type) {
      case nvinfer1::PluginCapabilityType::kCORE:
        return static_cast<nvinfer1::IPluginV3OneCore*>(this);
      case nvinfer1::PluginCapabilityType::kBUILD:
        return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
      case nvinfer1::PluginCapabilityType::kRUNTIME:
        return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    report(Op::kName, "expected the capability core, build or runtime, got another one");
    return nullptr;
  }

  nvinfer1::IPluginV3* clone() noexcept override {
    return guarded(Op::kName, static_cast<nvinfer1::IPluginV3*>(nullptr), [&] { return new Plugin(op_, inputs_); });
  }

  // Core.
  const char* getPluginName() const noexcept override { return Op::kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

  // Build.
  int32_t getNbOutputs() const noexcept override { return 1; }

  // Both say all that the attributes say, so that no two plugins share an entry of the timing cache.
  const char* getTimingCacheID() noexcept override { return description_.c_str(); }
  const char* getMetadataString() noexcept override { return description_.c_str(); }

  int32_t getOutputDataTypes(nvinfer1::DataType* outputs, int32_t nb_outputs, const nvinfer1::DataType* inputs,
                             int32_t nb_inputs) const noexcept override {
    return status([&] {
      check_counts(nb_inputs, nb_outputs);
      for (int i = 0; i < nb_inputs; ++i) check_format(i, linear(inputs[i]), inputs[0]);
      outputs[0] = inputs[0];
    });
  }

  int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, int32_t nb_inputs, const nvinfer1::DimsExprs*, int32_t,
                          nvinfer1::DimsExprs* outputs, int32_t nb_outputs,
                          nvinfer1::IExprBuilder& builder) noexcept override {
    return status([&] {
      check_counts(nb_inputs, nb_outputs);
      std::array<nvinfer1::Dims, kMaxInputs> shapes;
      std::transform(inputs, inputs + nb_inputs, shapes.begin(), known_sizes);
      op_.check(shapes.data(), nb_inputs);
      const std::vector<OutputSize> sizes = op_.output();
      outputs[0].nbDims = static_cast<int32_t>(sizes.size());
      for (size_t axis = 0; axis < sizes.size(); ++axis) {
        const OutputSize& size = sizes[axis];
        outputs[0].d[axis] = size.input < 0 ? builder.constant(size.constant) : inputs[size.input].d[size.axis];
      }
      inputs_ = nb_inputs;
    });
  }

  bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors, int32_t nb_inputs,
                                 int32_t nb_outputs) noexcept override {
    return guarded(Op::kName, false, [&] {
      check_counts(nb_inputs, nb_outputs);
      if (position < 0 || position >= nb_inputs + nb_outputs) {
        fail("expected the position of a tensor, 0 to " + std::to_string(nb_inputs) + ", got " +
             std::to_string(position));
      }
      const Role role = position < nb_inputs ? Op::kInputs[position].role : Role::kData;
      return format_fits(tensors[position].desc, role, tensors[0].desc.type);
    });
  }

  // The bounds of a profile are not shapes: each axis has its own. The optimum is one, and is run to be timed.
  int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* in, int32_t nb_inputs,
                          const nvinfer1::DynamicPluginTensorDesc* out, int32_t nb_outputs) noexcept override {
    return status([&] {
      check_profile(in, nb_inputs, out, nb_outputs);
      std::array<nvinfer1::Dims, kMaxInputs> best;
      std::transform(in, in + nb_inputs, best.begin(), [](const auto& tensor) { return tensor.opt; });
      if (std::all_of(in, in + nb_inputs, [](const auto& tensor) { return is_whole(tensor.opt, tensor); })) {
        op_.check(best.data(), nb_inputs);
      }
      inputs_ = nb_inputs;
    });
  }

  size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* in, int32_t nb_inputs,
                          const nvinfer1::DynamicPluginTensorDesc* out, int32_t nb_outputs) const noexcept override {
    return guarded(Op::kName, size_t{0}, [&] {
      check_profile(in, nb_inputs, out, nb_outputs);
      using Tensor = nvinfer1::DynamicPluginTensorDesc;
      const auto sizes_of = {
          +[](const Tensor& tensor) { return tensor.desc.dims; }, +[](const Tensor& tensor) { return tensor.min; },
          +[](const Tensor& tensor) { return tensor.opt; }, +[](const Tensor& tensor) { return tensor.max; }};
      size_t most = 0;
      for (const auto sizes : sizes_of) {
        if (!std::all_of(in, in + nb_inputs, [&](const Tensor& tensor) { return is_whole(sizes(tensor), tensor); })) {
          continue;
        }
        std::array<nvinfer1::Dims, kMaxInputs> shapes;
        std::transform(in, in + nb_inputs, shapes.begin(), sizes);
        most = std::max(most, in[0].desc.type == nvinfer1::DataType::kHALF
                                  ? op_.template workspace<Half>(shapes.data(), nb_inputs)
                                  : op_.template workspace<float>(shapes.data(), nb_inputs));
      }
      return most;
    });
  }

  // Runtime.
  int32_t onShapeChange(const nvinfer1::PluginTensorDesc* in, int32_t nb_inputs, const nvinfer1::PluginTensorDesc* out,
                        int32_t nb_outputs) noexcept override {
    return status([&] {
      check_counts(nb_inputs, nb_outputs);
      check(in, nb_inputs, out[0]);
      inputs_ = nb_inputs;
    });
  }

  int32_t enqueue(const nvinfer1::PluginTensorDesc* in, const nvinfer1::PluginTensorDesc* out,
                  const void* const* inputs, void* const* outputs, void* workspace,
                  cudaStream_t stream) noexcept override {
    return status([&] {
      if (inputs_ == 0) fail("expected onShapeChange before enqueue: how many inputs there are is not known");
      check(in, inputs_, out[0]);
      std::array<nvinfer1::Dims, kMaxInputs> shapes;
      std::transform(in, in + inputs_, shapes.begin(), [](const auto& tensor) { return tensor.dims; });
      if (!std::all_of(shapes.begin(), shapes.begin() + inputs_, is_known)) {
        fail("expected every size to be known, got unknown ones");
      }
      if (!outputs[0] || std::any_of(inputs, inputs + inputs_, [](const void* data) { return !data; })) {
        fail("expected memory for every tensor, got a null pointer");
      }
      const Call call{shapes.data(), inputs_, inputs, outputs[0], workspace, stream};
      const char* refused = in[0].type == nvinfer1::DataType::kHALF ? op_.template enqueue<Half>(call)
                                                                    : op_.template enqueue<float>(call);
      if (refused) fail(refused);
    });
  }

  // Contexts share nothing: the workspace is TensorRT's, everything else is in the clone.
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override { return clone(); }

  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override { return &collection_; }

 private:
  static constexpr int kMost = static_cast<int>(std::size(Op::kInputs));
  static_assert(kMost <= kMaxInputs);

  template <class F>
  static int32_t status(F&& f) noexcept {
    return guarded(Op::kName, int32_t{1}, [&] {
      f();
      return int32_t{0};
    });
  }

  static bool is_known(const nvinfer1::Dims& shape) {
    return std::all_of(shape.d, shape.d + shape.nbDims, [](int64_t size) { return size >= 1; });
  }

  // A profile may leave sizes open.
  static bool is_whole(const nvinfer1::Dims& sizes, const nvinfer1::DynamicPluginTensorDesc& tensor) {
    return sizes.nbDims == tensor.desc.dims.nbDims && is_known(sizes);
  }

  static nvinfer1::PluginTensorDesc linear(nvinfer1::DataType type) {
    return {{}, type, nvinfer1::TensorFormat::kLINEAR, 0};
  }

  static void check_counts(int32_t inputs, int32_t outputs) {
    if (inputs >= kMost - Op::kOptionalInputs && inputs <= kMost && outputs == 1) return;
    const std::string least = Op::kOptionalInputs ? std::to_string(kMost - Op::kOptionalInputs) + " or " : "";
    fail("expected " + least + std::to_string(kMost) + " inputs and 1 output, got " + std::to_string(inputs) + " and " +
         std::to_string(outputs));
  }

  static void check_format(int input, const nvinfer1::PluginTensorDesc& desc, nvinfer1::DataType data) {
    expect_format(Op::kInputs[input].name, desc, Op::kInputs[input].role, data);
  }

  // The number of tensors, and all of them but the bounds of their profile.
  void check_profile(const nvinfer1::DynamicPluginTensorDesc* in, int32_t nb_inputs,
                     const nvinfer1::DynamicPluginTensorDesc* out, int32_t nb_outputs) const {
    check_counts(nb_inputs, nb_outputs);
    std::array<nvinfer1::PluginTensorDesc, kMaxInputs> inputs;
    for (int i = 0; i < nb_inputs; ++i) inputs[i] = in[i].desc;
    check(inputs.data(), nb_inputs, out[0].desc);
  }

  // Types, formats and the sizes that are known.
  void check(const nvinfer1::PluginTensorDesc* in, int count, const nvinfer1::PluginTensorDesc& out) const {
    std::array<nvinfer1::Dims, kMaxInputs> shapes;
    for (int i = 0; i < count; ++i) {
      check_format(i, in[i], in[0].type);
      shapes[i] = in[i].dims;
    }
    expect_format(Op::kOutput, out, Role::kData, in[0].type);
    op_.check(shapes.data(), count);
    const std::vector<OutputSize> sizes = op_.output();
    nvinfer1::Dims expected{static_cast<int32_t>(sizes.size()), {}};
    std::transform(sizes.begin(), sizes.end(), expected.d, [&](const OutputSize& size) {
      return size.input < 0 ? size.constant : shapes[size.input].d[size.axis];
    });
    expect_shape(Op::kOutput, out.dims, expected);
  }

  const Op op_;
  int32_t inputs_;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_;
  std::string description_;
};

template <class Op>
class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  Creator() {
    Fields none(nullptr);
    names_ = Op(none).fields();
    for (nvinfer1::PluginField& field : names_) field = {field.name, nullptr, field.type, 1};
    collection_ = {static_cast<int32_t>(names_.size()), names_.data()};
  }

  nvinfer1::IPluginV3* createPlugin(const char*, const nvinfer1::PluginFieldCollection* collection,
                                    nvinfer1::TensorRTPhase phase) noexcept override {
    return guarded(Op::kName, static_cast<nvinfer1::IPluginV3*>(nullptr), [&] {
      if (const char* problem = cuda::driver_problem()) fail(problem);
      Fields fields(collection);
      const Op op(fields);
      int32_t inputs = 0;
      if (phase == nvinfer1::TensorRTPhase::kRUNTIME) {
        inputs = fields.integer("inputs", 0);
        const int most = static_cast<int>(std::size(Op::kInputs)), least = most - Op::kOptionalInputs;
        if (inputs != 0 && (inputs < least || inputs > most)) {
          fail("inputs: expected a plan to say 0 or " + std::to_string(least) + " to " + std::to_string(most) +
               ", got " + std::to_string(inputs));
        }
      }
      fields.refuse_others();
      return new Plugin<Op>(op, inputs);
    });
  }

  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
  const char* getPluginName() const noexcept override { return Op::kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

 private:
  std::vector<nvinfer1::PluginField> names_;
  nvinfer1::PluginFieldCollection collection_;
};

}  // namespace msdk::tensorrt
