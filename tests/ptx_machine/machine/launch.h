// Launches of translated kernels.
#pragma once

#include <driver_types.h>

#include <string>

#include "block.h"

namespace ptx_machine {

// The kernel that a host function stands for.
void register_kernel(const void* host_function, const char* symbol);
bool is_kernel(const void* host_function);

// Copies the arguments: a launch of the function, ready to run. An error where CUDA would refuse it.
cudaError_t prepare(const void* host_function, Index grid, Index block, void** arguments, size_t dynamic_bytes,
                    Launch& launch);

// Runs every block. cudaErrorLaunchFailure: last_fault() says what was wrong.
cudaError_t run(Launch& launch);

const std::string& last_fault();

}  // namespace ptx_machine
