// Nodes of the three ops, as lists of tensor descriptions: the inputs, then the output.
#pragma once

#include "tensorrt_fixture.h"

namespace fixture {

struct Node {
  const char* op;
  std::vector<PluginField> fields;
  std::vector<PluginTensorDesc> inputs;
  PluginTensorDesc output;

  int32_t count() const { return static_cast<int32_t>(inputs.size()); }
  std::vector<PluginTensorDesc> all() const {
    std::vector<PluginTensorDesc> tensors = inputs;
    tensors.push_back(output);
    return tensors;
  }
};

inline constexpr DataType kFloat = DataType::kFLOAT;

inline Node conv_node(DataType T, int64_t batch, int64_t channels, int64_t length, int64_t width,
                      std::string_view directions, int64_t K) {
  return {"DirectionalConv1d",
          {text("directions", directions)},
          {tensor(T, dims({batch, channels, length})), tensor(kFloat, dims({K, channels, width})),
           tensor(kFloat, dims({K, channels}))},
          tensor(T, dims({batch, K, channels, length}))};
}

inline Node scan_node(DataType T, int64_t batch, int64_t channels, int64_t length, int64_t states, int64_t rank,
                      std::string_view directions, int64_t K, const float& scale, bool gate) {
  Node node{"BidirectionalSelectiveScan",
            {text("directions", directions), number("scale", scale)},
            {tensor(T, dims({batch, K, channels, length})), tensor(T, dims({batch, K, rank + 2 * states, length})),
             tensor(kFloat, dims({K, channels, rank})), tensor(kFloat, dims({K, channels})),
             tensor(kFloat, dims({K, channels, states})), tensor(kFloat, dims({K, channels}))},
            tensor(T, dims({batch, channels, length}))};
  if (gate) node.inputs.push_back(tensor(T, dims({batch, channels, length})));
  return node;
}

inline Node kan_node(DataType T, int64_t batch, int64_t in, int64_t out, int64_t length, int64_t bases,
                     const float& grid_min, const float& grid_max) {
  return {
      "KanLinear",
      {number("grid_min", grid_min), number("grid_max", grid_max)},
      {tensor(T, dims({batch, in, length})), tensor(kFloat, dims({out, in})), tensor(kFloat, dims({out, in, bases}))},
      tensor(T, dims({batch, out, length}))};
}

inline const float kHalved = 0.5f, kLow = -1.5f, kHigh = 2.0f;
inline const std::string kThree = "forward,slices:3:backward,backward";

// Each op, the scan with and without its gate.
inline std::vector<Node> nodes(DataType T) {
  return {conv_node(T, 2, 5, 9, 4, kThree, 3), scan_node(T, 2, 5, 9, 7, 2, kThree, 3, kHalved, true),
          scan_node(T, 1, 3, 12, 16, 1, "backward", 1, kHalved, false), kan_node(T, 2, 5, 3, 9, 8, kLow, kHigh)};
}

}  // namespace fixture
