// The emulated ops for Python: a file an op, found by its name. Each call returns null or a sentence about what is
// wrong, in a buffer that the next call overwrites.
#pragma once

#include <cstdint>
#include <string>

#include "ops/directions.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace c_abi {

inline const char* report(const std::string& problem) {
  static std::string last;
  last = problem;
  return last.empty() ? nullptr : last.c_str();
}

inline std::string read_directions(const char* text, int64_t length, msdk::DirectionList& out) {
  const std::string problem = msdk::parse_directions(text, out);
  return problem.empty() ? msdk::check_directions(out, length) : problem;
}

}  // namespace c_abi
