// KanLinear on an NVIDIA GPU.
#pragma once

#include "cuda/stream.h"
#include "ops/kan_linear/args.h"

namespace msdk::cuda {

template <class T>
const char* kan_linear(const KanLinearArgs<T>& args, Stream stream);

}  // namespace msdk::cuda
