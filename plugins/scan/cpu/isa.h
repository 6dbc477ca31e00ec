// Common head of the isa_*.cpp files: everything isa_kernels.inc needs from outside its namespace.
//
// Only C headers and plain structs may be included here: an inline function or template shared with other object
// files could be kept by the linker in the version that uses instructions the processor lacks.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE__)
#include <immintrin.h>
#endif

#include "kernels.h"

// Fills the Kernels of the namespace it stands in.
#define MSDK_EXPORT_KERNELS(isa_name)                                                                 \
  extern const Kernels kKernels = {isa_name,                                                          \
                                   kLanes,                                                            \
                                   &scan_scratch_bytes,                                               \
                                   &kan_scratch_bytes,                                                \
                                   &scan_detail::run<true>,                                           \
                                   &scan_detail::run<false>,                                          \
                                   &scan_detail::carry,                                               \
                                   &conv_detail::row,                                                 \
                                   &kan_detail::tokens,                                               \
                                   &norm_detail::tokens,                                              \
                                   conv3d_detail::kOutputs,                                           \
                                   {&conv3d_detail::direct_floats, &conv3d_detail::direct_block},     \
                                   {&conv3d_detail::winograd_floats<2>, &conv3d_detail::winograd<2>}, \
                                   {&conv3d_detail::winograd_floats<4>, &conv3d_detail::winograd<4>}, \
                                   &upsample_scratch_bytes,                                           \
                                   &upsample_detail::planes};
