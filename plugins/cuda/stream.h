// The stream that an op's call on an NVIDIA GPU takes. No CUDA header is needed to read this, nor an op's cuda.h.
//
// Every call only enqueues work on the stream: no allocation, no synchronisation, no device query, so it can be
// captured in a CUDA graph. Pointers in the arguments are device memory. The grid follows from the sizes alone, so
// results are the same bit for bit on every run. T is float or Half. Each launch returns null, or a sentence that says
// what the launch was refused for.
#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;

namespace msdk {

// float16, as its bits.
struct Half {
  uint16_t bits;
};

namespace cuda {

using Stream = CUstream_st*;  // cudaStream_t

}  // namespace cuda
}  // namespace msdk
