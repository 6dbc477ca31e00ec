// Reads the `directions` attribute: "forward", "backward", "slices:S", "slices:S:backward", comma-separated.
#pragma once

#include <string>
#include <string_view>

#include "ops/contract.h"

namespace msdk {

// Fills `out` and returns an empty string, or returns a sentence that says what is wrong with `text`.
std::string parse_directions(std::string_view text, DirectionList& out);

// Empty when every direction fits `length` tokens (slices divides length), otherwise a sentence.
std::string check_directions(const DirectionList& directions, int64_t length);

}  // namespace msdk
