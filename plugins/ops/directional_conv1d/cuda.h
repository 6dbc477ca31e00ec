// DirectionalConv1d on an NVIDIA GPU.
#pragma once

#include "cuda/stream.h"
#include "ops/directional_conv1d/args.h"

namespace msdk::cuda {

template <class T>
const char* directional_conv1d(const DirectionalConv1dArgs<T>& args, Stream stream);

}  // namespace msdk::cuda
