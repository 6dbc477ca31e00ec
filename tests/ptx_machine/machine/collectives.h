// Instructions at which threads wait for one another.
#pragma once

#include "thread.h"

namespace ptx_machine {

PTX_MACHINE_API void block_barrier(Thread&);
PTX_MACHINE_API void warp_barrier(Thread&, uint32_t mask);

enum class Shuffle { kUp, kDown, kButterfly, kIndex };
// shfl.sync: the value of another lane, which is in range where the predicate says so, else the thread's own.
PTX_MACHINE_API uint32_t shuffle(Thread&, Shuffle, uint32_t value, uint32_t by, uint32_t clamp, uint32_t mask,
                                 bool& in_range);

}  // namespace ptx_machine
