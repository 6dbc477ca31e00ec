// TokenNorm on an NVIDIA GPU.
#pragma once

#include "cuda/stream.h"
#include "ops/token_norm/args.h"

namespace msdk::cuda {

// Null, or a sentence that says what the launch was refused for.
template <class T>
const char* token_norm(const TokenNormArgs<T>& args, Stream stream);

}  // namespace msdk::cuda
