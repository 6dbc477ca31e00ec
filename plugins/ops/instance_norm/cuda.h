// InstanceNorm on an NVIDIA GPU.
#pragma once

#include <cstddef>

#include "cuda/stream.h"
#include "ops/instance_norm/args.h"

namespace msdk::cuda {

// Bytes of device memory, aligned to 16, that instance_norm needs.
template <class T>
size_t instance_norm_workspace(const InstanceNormArgs<T>& args);

// Null, or a sentence that says what the launch was refused for.
template <class T>
const char* instance_norm(const InstanceNormArgs<T>& args, void* workspace, Stream stream);

}  // namespace msdk::cuda
