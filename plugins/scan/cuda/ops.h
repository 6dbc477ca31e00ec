// The msdk ops on an NVIDIA GPU, as the adaptors call them. No CUDA header is needed to read this.
//
// Every call only enqueues work on the stream: no allocation, no synchronisation, no device query, so it can be
// captured in a CUDA graph. Pointers in the arguments are device memory. The grid follows from the sizes alone,
// so results are the same bit for bit on every run.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../contract.h"

struct CUstream_st;

namespace msdk {

// float16, as its bits.
struct Half {
  uint16_t bits;
};

namespace cuda {

using Stream = CUstream_st*;  // cudaStream_t

// T is float or Half. Each launch returns null, or a sentence that says what the launch was refused for.

template <class T>
const char* directional_conv1d(const DirectionalConv1dArgs<T>& args, Stream stream);

// Scratch memory, 256-byte aligned, that selective_scan needs for these sizes and any smaller batch or length
// (pointers are not read); its content before the call does not matter.
template <class T>
size_t selective_scan_workspace(const SelectiveScanArgs<T>& args);

template <class T>
const char* selective_scan(const SelectiveScanArgs<T>& args, void* workspace, Stream stream);

template <class T>
const char* kan_linear(const KanLinearArgs<T>& args, Stream stream);

}  // namespace cuda
}  // namespace msdk
