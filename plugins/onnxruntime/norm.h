// The norm of a node: its attributes, and what ops that apply it to an input as they read it take for it.
#pragma once

#include "onnxruntime/ort.h"
#include "ops/instance_norm/args.h"
#include "ops/instance_norm/cpu.h"

namespace msdk::ort {

// Attributes epsilon, activation and slope.
struct NormAttributes {
  explicit NormAttributes(const OrtKernelInfo* info);

  // What a number below 0 is multiplied by.
  float slope_below_zero() const;

  float epsilon, slope;
  Activation activation;
};

// Inputs weight, bias and, optional, moments, from input `first` on, that normalise an input of this shape.
cpu::NormOfInput norm_of_input(const Ort::KernelContext& context, size_t first, float epsilon, int64_t batch,
                               int64_t channels);

}  // namespace msdk::ort
