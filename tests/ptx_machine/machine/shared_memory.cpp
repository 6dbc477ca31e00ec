// Shared memory: bounds of each variable, bytes that nobody wrote, races between two barriers.
#include <cstring>

#include "block.h"
#include "memory.h"

namespace ptx_machine {
namespace {

void check_race_with_writer(Thread& thread, const SharedGranule& granule, const char* variable, Use use) {
  if (granule.written.time == 0 || thread.block->order.is_over(granule.written, thread)) return;
  fault(thread, "a race in shared memory: `%s` was written by thread %u, and is %s with no barrier between", variable,
        granule.written.thread, use == Use::kRead ? "read" : "written again");
}

void check_race_with_readers(Thread& thread, const SharedGranule& granule, const char* variable) {
  const Order& order = thread.block->order;
  if (granule.readers == 0 || granule.read_since != order.last_block_barrier()) return;
  const char* const sentence =
      "a race in shared memory: `%s` was read by a thread of warp %u, and is written with no barrier between";
  if (granule.other_warps_read || granule.reading_warp != thread.warp())
    fault(thread, sentence, variable, granule.reading_warp);
  for (uint32_t lane = 0; lane < kWarp; ++lane) {
    if (!(granule.readers >> lane & 1)) continue;
    const Access read{granule.reading_warp * kWarp + lane, granule.read_at[lane]};
    if (!order.is_over(read, thread)) fault(thread, sentence, variable, granule.reading_warp);
  }
}

void note_reader(const Thread& thread, SharedGranule& granule) {
  const Order& order = thread.block->order;
  if (granule.readers == 0 || granule.read_since != order.last_block_barrier()) {
    granule.readers = 0;
    granule.reading_warp = thread.warp();
    granule.read_since = order.last_block_barrier();
    granule.other_warps_read = false;
  }
  if (granule.reading_warp != thread.warp()) {
    granule.other_warps_read = true;
    return;
  }
  granule.readers |= 1u << thread.lane();
  granule.read_at[thread.lane()] = order.now();
}

}  // namespace

void SharedMemory::begin_launch(const Launch& launch) {
  const Kernel& kernel = *launch.kernel;
  variables.resize(kernel.shared_count);
  for (uint32_t i = 0; i < kernel.shared_count; ++i) {
    const uint32_t bytes = launch.shared_bytes(i);
    variables[i].bytes.resize(bytes);
    variables[i].granules.assign((bytes + kernel.shared_granule - 1) / kernel.shared_granule, {});
  }
}

void SharedMemory::begin_block() {
  for (Variable& variable : variables) std::memset(variable.bytes.data(), 0xff, variable.bytes.size());
}

uint8_t* shared_bytes(Thread& thread, uint64_t address, uint32_t bytes, Use use) {
  const Block& block = *thread.block;
  const Kernel& kernel = *block.launch->kernel;
  if (address % bytes != 0) fault(thread, "a misaligned access of %u bytes to shared memory", bytes);
  const uint64_t index = address / kSharedSpacing - 1;
  if (index >= kernel.shared_count) fault(thread, "an access outside of every variable in shared memory");
  const SharedVariable& declared = kernel.shared[index];
  SharedMemory::Variable& variable = block.shared->variables[index];
  const uint64_t offset = address - shared_address(static_cast<uint32_t>(index), declared.alignment);
  if (offset > variable.bytes.size() || bytes > variable.bytes.size() - offset) {
    fault(thread, "an access of %u bytes at byte %lld of `%s`, a variable of %zu bytes in shared memory", bytes,
          static_cast<long long>(offset), declared.name, variable.bytes.size());
  }
  const uint64_t last = (offset + bytes - 1) / kernel.shared_granule;
  for (uint64_t i = offset / kernel.shared_granule; i <= last; ++i) {
    SharedGranule& granule = variable.granules[i];
    if (granule.run != block.run) {
      granule = {};
      granule.run = block.run;
    }
    check_race_with_writer(thread, granule, declared.name, use);
    if (use != Use::kWrite && granule.written.time == 0)
      fault(thread, "a read of `%s` in shared memory where no thread has written", declared.name);
    if (use == Use::kRead) {
      note_reader(thread, granule);
    } else {
      check_race_with_readers(thread, granule, declared.name);
      granule.written = {thread.number, block.order.now()};
      granule.readers = 0;
    }
  }
  return variable.bytes.data() + offset;
}

}  // namespace ptx_machine
