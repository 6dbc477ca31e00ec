// The machine's global memory, as the host sees it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ptx_machine {

void* allocate(size_t bytes);  // aligned to 256 bytes and full of NaN; null where memory ends
bool release(void* begin);     // false: nothing was allocated there
bool is_allocated(const void* begin, size_t bytes);
size_t allocated_bytes();

}  // namespace ptx_machine
