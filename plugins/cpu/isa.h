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

#include "cpu/kernels.h"
