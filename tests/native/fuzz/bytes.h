// Turns a fuzzer's bytes into choices; all are the first one once the bytes are used up.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>

namespace fuzz {

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : next_(data), end_(data + size) {}

  uint8_t byte() { return next_ == end_ ? 0 : *next_++; }
  int64_t between(int64_t least, int64_t most) { return least + byte() % (most - least + 1); }

  template <class T>
  T one_of(std::initializer_list<T> choices) {
    return choices.begin()[byte() % choices.size()];
  }
  template <class List>
  auto& element_of(List& list) {
    return list[byte() % list.size()];
  }

  // Any value at all.
  template <class T>
  T any() {
    T value{};
    const size_t count = std::min(sizeof value, static_cast<size_t>(end_ - next_));
    if (count > 0) std::memcpy(&value, next_, count);
    next_ += count;
    return value;
  }

  std::string text() {
    std::string value(byte() % 24, '\0');
    for (char& letter : value) letter = static_cast<char>(byte());
    return value;
  }

 private:
  const uint8_t *next_, *end_;
};

// A value of the attribute `directions`: mostly one that is right.
inline std::string directions(Bytes& bytes) {
  const std::string right = bytes.one_of<const char*>(
      {"forward,backward", "forward", "backward", "slices:3,slices:3:backward", "forward,slices:2:backward,backward",
       "slices:5:backward", "backward,slices:4,forward,slices:4:backward", ""});
  return right.empty() ? bytes.text() : right;
}

inline void expect(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "expected %s\n", what);
  std::abort();
}

}  // namespace fuzz
