// Loads, stores and atomic operations of translated PTX. Each is checked before a byte is touched.
#pragma once

#include <array>
#include <cstring>

#include "thread.h"

namespace ptx_machine {

enum class Space { kGlobal, kShared, kLocal, kParameter, kGeneric };
enum class Use { kRead, kReadOnly, kWrite, kAtomic };  // kReadOnly: ld.global.nc, of what no thread writes meanwhile

// Where the bytes are in the host's memory. Each reports a fault for an access that is misaligned, out of bounds, in a
// race with another thread, or that reads what was never written.
PTX_MACHINE_API uint8_t* global_bytes(Thread&, uint64_t address, uint32_t bytes, Use);
PTX_MACHINE_API uint8_t* shared_bytes(Thread&, uint64_t address, uint32_t bytes, Use);
PTX_MACHINE_API uint8_t* local_bytes(Thread&, uint64_t address, uint32_t bytes, Use);
PTX_MACHINE_API uint8_t* parameter_bytes(Thread&, uint64_t address, uint32_t bytes, Use);
PTX_MACHINE_API uint8_t* generic_bytes(Thread&, uint64_t address, uint32_t bytes, Use);

template <Space space>
uint8_t* bytes_at(Thread& thread, uint64_t address, uint32_t bytes, Use use) {
  if constexpr (space == Space::kGlobal) return global_bytes(thread, address, bytes, use);
  if constexpr (space == Space::kShared) return shared_bytes(thread, address, bytes, use);
  if constexpr (space == Space::kLocal) return local_bytes(thread, address, bytes, use);
  if constexpr (space == Space::kParameter) return parameter_bytes(thread, address, bytes, use);
  return generic_bytes(thread, address, bytes, use);
}

template <Space space, Use use, class T, size_t count>
std::array<T, count> load(Thread& thread, uint64_t address) {
  std::array<T, count> values;
  std::memcpy(values.data(), bytes_at<space>(thread, address, sizeof values, use), sizeof values);
  return values;
}

template <Space space, class T, size_t count>
void store(Thread& thread, uint64_t address, const std::array<T, count>& values) {
  std::memcpy(bytes_at<space>(thread, address, sizeof values, Use::kWrite), values.data(), sizeof values);
}

// Puts what `change` makes of the old value in its place; returns the old value.
template <Space space, class T, class Change>
T atomic(Thread& thread, uint64_t address, Change&& change) {
  uint8_t* place = bytes_at<space>(thread, address, sizeof(T), Use::kAtomic);
  T old;
  std::memcpy(&old, place, sizeof old);
  const T changed = change(old);
  std::memcpy(place, &changed, sizeof changed);
  return old;
}

}  // namespace ptx_machine
