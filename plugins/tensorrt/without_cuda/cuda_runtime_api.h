// All that TensorRT's headers need of CUDA's, for machines that have no CUDA toolkit and test the plugins on the
// emulator.
#pragma once

using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;
