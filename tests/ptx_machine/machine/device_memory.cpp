// Global, local and parameter memory: bounds of each allocation, races between threads of a launch.
#include "device_memory.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "block.h"
#include "memory.h"

namespace ptx_machine {
namespace {

constexpr uint32_t kMostMoments = 1u << 21;

// Who wrote a byte last. `run`: the block's number among all that ever ran.
struct Mark {
  uint32_t run;
  uint32_t thread : 10, atomic : 1, time : 21;
};

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

struct Allocation {
  std::unique_ptr<uint8_t, Free> memory;
  size_t bytes;
  std::unique_ptr<Mark, Free> marks;  // one a byte; untouched pages take no memory

  uint64_t begin() const { return reinterpret_cast<uint64_t>(memory.get()); }
  bool holds(uint64_t address, size_t count) const {
    return address >= begin() && address - begin() <= bytes && count <= bytes - (address - begin());
  }
};

std::map<uint64_t, Allocation> allocations;
Allocation* last_found = nullptr;
size_t total_bytes = 0;

Allocation* allocation_of(uint64_t address, size_t bytes) {
  if (last_found && last_found->holds(address, bytes)) return last_found;
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return nullptr;
  Allocation& found = std::prev(next)->second;
  if (!found.holds(address, bytes)) return nullptr;
  return last_found = &found;
}

void check_race(Thread& thread, const Mark& mark, Use use) {
  const Block& block = *thread.block;
  if (mark.run < block.launch->first_run) return;  // an earlier launch wrote it
  if (mark.atomic && use == Use::kAtomic) return;
  if (use == Use::kReadOnly)
    fault(thread, "ld.global.nc reads what a thread of the same launch has written: it may see the old value");
  if (mark.run == block.run && block.order.is_over({mark.thread, mark.time}, thread)) return;
  fault(thread, "a race in global memory: thread %u of %s block wrote there, and it is %s with no barrier between",
        mark.thread, mark.run == block.run ? "this" : "another", use == Use::kRead ? "read" : "written again");
}

}  // namespace

void* allocate(size_t bytes) {
  const size_t rounded = (bytes + 255) / 256 * 256;
  Allocation made{std::unique_ptr<uint8_t, Free>(static_cast<uint8_t*>(std::aligned_alloc(256, rounded))), bytes,
                  std::unique_ptr<Mark, Free>(static_cast<Mark*>(std::calloc(bytes, sizeof(Mark))))};
  if (!made.memory || !made.marks) return nullptr;
  std::memset(made.memory.get(), 0xff, rounded);
  void* const begin = made.memory.get();
  total_bytes += bytes;
  allocations.emplace(made.begin(), std::move(made));
  last_found = nullptr;
  return begin;
}

bool release(void* begin) {
  const auto found = allocations.find(reinterpret_cast<uint64_t>(begin));
  if (found == allocations.end()) return false;
  total_bytes -= found->second.bytes;
  allocations.erase(found);
  last_found = nullptr;
  return true;
}

bool is_allocated(const void* begin, size_t bytes) {
  return allocation_of(reinterpret_cast<uint64_t>(begin), bytes) != nullptr;
}

size_t allocated_bytes() { return total_bytes; }

uint8_t* global_bytes(Thread& thread, uint64_t address, uint32_t bytes, Use use) {
  if (address % bytes != 0) fault(thread, "a misaligned access of %u bytes to global memory", bytes);
  Allocation* const allocation = allocation_of(address, bytes);
  if (!allocation) fault(thread, "an access of %u bytes outside of what was allocated of global memory", bytes);
  const Block& block = *thread.block;
  if (block.order.now() >= kMostMoments) fault(thread, "more than %u barriers in a block", kMostMoments);
  const uint64_t offset = address - allocation->begin();
  for (uint32_t i = 0; i < bytes; ++i) {
    Mark& mark = allocation->marks.get()[offset + i];
    check_race(thread, mark, use);
    if (use == Use::kWrite || use == Use::kAtomic)
      mark = {block.run, thread.number & 1023, use == Use::kAtomic, block.order.now() & (kMostMoments - 1)};
  }
  return allocation->memory.get() + offset;
}

uint8_t* local_bytes(Thread& thread, uint64_t address, uint32_t bytes, Use) {
  const uint64_t offset = address - reinterpret_cast<uint64_t>(thread.local);
  if (address % bytes != 0) fault(thread, "a misaligned access of %u bytes to local memory", bytes);
  if (offset > thread.local_bytes || bytes > thread.local_bytes - offset)
    fault(thread, "an access of %u bytes outside of the thread's %u bytes of local memory", bytes, thread.local_bytes);
  return thread.local + offset;
}

uint8_t* parameter_bytes(Thread& thread, uint64_t address, uint32_t bytes, Use use) {
  // A parameter is read; the launch's own copy is not to be changed by one of its threads.
  auto& parameters = const_cast<std::vector<uint8_t>&>(thread.block->launch->parameters);
  if (use != Use::kRead) fault(thread, "a write to the kernel's parameters");
  if (address % bytes != 0) fault(thread, "a misaligned access of %u bytes to the kernel's parameters", bytes);
  if (address > parameters.size() || bytes > parameters.size() - address)
    fault(thread, "an access of %u bytes beyond the kernel's %zu bytes of parameters", bytes, parameters.size());
  return parameters.data() + address;
}

uint8_t* generic_bytes(Thread& thread, uint64_t address, uint32_t bytes, Use use) {
  if (address - reinterpret_cast<uint64_t>(thread.local) < thread.local_bytes)
    return local_bytes(thread, address, bytes, use);
  if (address >= kSharedWindow && address < 2 * kSharedWindow)
    return shared_bytes(thread, address - kSharedWindow, bytes, use);
  return global_bytes(thread, address, bytes, use);
}

}  // namespace ptx_machine
