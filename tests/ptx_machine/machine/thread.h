// What translated PTX and the machine that runs it share: a thread, a kernel, and the way a fault is reported.
#pragma once

#include <cstddef>
#include <cstdint>

#define PTX_MACHINE_API __attribute__((visibility("default")))

namespace ptx_machine {

constexpr uint32_t kWarp = 32;

struct Index {
  uint32_t x, y, z;
};

struct Block;

struct Thread {
  Index tid, ntid, ctaid, nctaid;
  uint32_t number;  // in its block
  Block* block;
  uint8_t* local;  // its own memory, PTX's .local
  uint32_t local_bytes;
  uint32_t at;  // the instruction that it executes, of Kernel::instructions
  uint64_t branches;

  uint32_t lane() const { return number % kWarp; }
  uint32_t warp() const { return number / kWarp; }
};

// An instruction that touches memory or waits, as a fault names it.
struct Instruction {
  uint32_t line;  // of the PTX file
  const char* text;
};

struct Parameter {
  uint32_t offset, bytes;
};

struct SharedVariable {
  const char* name;
  uint32_t bytes, alignment;
  bool dynamic;  // as many bytes as the launch says
};

struct Kernel {
  const char* symbol;  // mangled, as the host registers it
  const char* name;    // as a person reads it
  void (*run)(Thread&);
  const Parameter* parameters;
  uint32_t parameter_count, parameter_bytes;
  const SharedVariable* shared;
  uint32_t shared_count;
  uint32_t shared_granule;  // bytes: the smallest access of the kernel to shared memory
  uint32_t most_threads;    // of a block
  const Instruction* instructions;
};

// Every variable in shared memory has a megabyte of addresses for itself, so that to run over its end is to leave
// shared memory. It is aligned as it was declared and no better.
constexpr uint32_t kSharedSpacing = 1u << 20;
constexpr uint32_t shared_address(uint32_t variable, uint32_t alignment) {
  return (variable + 1) * kSharedSpacing + alignment;
}
constexpr uint64_t kSharedWindow = uint64_t{1} << 52;  // where shared memory lies among generic addresses

// Ends the launch with a sentence that names kernel, block, thread and instruction.
[[noreturn]] PTX_MACHINE_API void fault(const Thread& thread, const char* format, ...)
    __attribute__((format(printf, 2, 3)));

constexpr uint64_t kMostBranches = 1u << 26;
inline void count_branch(Thread& thread) {
  if (++thread.branches > kMostBranches) fault(thread, "a thread that branches more than 2^26 times: an endless loop");
}

// Makes the kernels of a translated module known to the launches of the shared library that it is linked into.
PTX_MACHINE_API bool add_module(const Kernel* const* kernels, size_t count);

}  // namespace ptx_machine
