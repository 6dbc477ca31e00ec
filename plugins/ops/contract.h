// Common to the contracts of the msdk ops. Plain old data only: no header of TensorRT, ONNX Runtime or CUDA
// is needed to read this or any args.h.
//
// Tokens of a feature map (D, H, W) are numbered l = (d*H + h)*W + w. Every tensor is dense and row-major with the
// token axis last. K directed scans run over the same tokens; nothing is ever flipped or transposed in memory.
#pragma once

#include <cstdint>

namespace msdk {

// Of domain `msdk`; msdk_rt/artifact/ops_version.py has the same.
constexpr int kOpsVersion = 1;
constexpr int kMaxDirections = 8;

// One reading order of the tokens. With M = L / slices, step t = j*slices + s visits token s*M + j; `backward`
// reads the same order from its end. `forward` and `backward` are slices = 1.
struct Direction {
  int64_t slices = 1;
  bool backward = false;
};

struct DirectionList {
  int count = 0;
  Direction items[kMaxDirections];
};

}  // namespace msdk
