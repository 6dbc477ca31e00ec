// InstanceNorm: what an instruction set offers for it. C headers only, see cpu/isa.h.
#pragma once

#include "ops/input_norm.h"
#include "ops/instance_norm/args.h"

namespace msdk::cpu {

// Numbers that are added up in one go: a chunk of a large channel.
constexpr int64_t kNormChunk = 1 << 16;

// Of some numbers: how many, their mean, and the sum of their squared distances from it.
struct Moments {
  double count, mean, squares;
};

// The plain sums of some numbers and of their squares.
struct Sums {
  double sum, squares;
};

struct InstanceNormKernels {
  Moments (*moments)(const float* x, int64_t count);  // of at most kNormChunk numbers
  // `count` numbers from number `first` of the tensors on, all of one channel.
  void (*apply)(const InstanceNormArgs<float>&, const Normalisation&, int64_t first, int64_t count);
};

}  // namespace msdk::cpu
