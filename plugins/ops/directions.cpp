#include "ops/directions.h"

#include <charconv>

namespace msdk {
namespace {

constexpr std::string_view kBackwardSuffix = ":backward";
constexpr std::string_view kSlicesPrefix = "slices:";

bool parse_one(std::string_view item, Direction& out) {
  if (item == "forward") {
    out = {1, false};
    return true;
  }
  if (item == "backward") {
    out = {1, true};
    return true;
  }
  if (item.substr(0, kSlicesPrefix.size()) != kSlicesPrefix) return false;
  item.remove_prefix(kSlicesPrefix.size());
  out.backward =
      item.size() > kBackwardSuffix.size() && item.substr(item.size() - kBackwardSuffix.size()) == kBackwardSuffix;
  if (out.backward) item.remove_suffix(kBackwardSuffix.size());
  const char* end = item.data() + item.size();
  const auto result = std::from_chars(item.data(), end, out.slices);
  return result.ec == std::errc() && result.ptr == end && out.slices >= 1;
}

}  // namespace

std::string parse_directions(std::string_view text, DirectionList& out) {
  out.count = 0;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    if (out.count == kMaxDirections) {
      return "directions: at most " + std::to_string(kMaxDirections) + " directions are supported";
    }
    if (!parse_one(item, out.items[out.count])) {
      return "directions: expected forward, backward, slices:S or slices:S:backward with S >= 1, got '" +
             std::string(item) + "'";
    }
    ++out.count;
    if (comma == std::string_view::npos) return {};
    text.remove_prefix(comma + 1);
  }
}

std::string check_directions(const DirectionList& directions, int64_t length) {
  for (int k = 0; k < directions.count; ++k) {
    const int64_t slices = directions.items[k].slices;
    if (length % slices != 0) {
      return "directions: slices:" + std::to_string(slices) + " must divide the number of tokens, which is " +
             std::to_string(length);
    }
  }
  return {};
}

}  // namespace msdk
