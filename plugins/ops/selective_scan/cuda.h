// BidirectionalSelectiveScan on an NVIDIA GPU.
#pragma once

#include "cuda/stream.h"
#include "ops/selective_scan/args.h"

namespace msdk::cuda {

// Scratch memory, 256-byte aligned, that selective_scan needs for these sizes and any smaller batch or length (pointers
// are not read); its content before the call does not matter.
template <class T>
size_t selective_scan_workspace(const SelectiveScanArgs<T>& args);

template <class T>
const char* selective_scan(const SelectiveScanArgs<T>& args, void* workspace, Stream stream);

}  // namespace msdk::cuda
