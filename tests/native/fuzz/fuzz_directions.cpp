// The parser of `directions`: any text gives directions within their limits, or one sentence that says what is wrong.

#include "bytes.h"
#include "ops/directions.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace msdk;
  fuzz::Bytes bytes(data, size);
  const int64_t length = bytes.any<int64_t>() & INT64_MAX;
  std::string text;
  for (int64_t items = bytes.between(0, 10); items > 0; --items) {
    text += bytes.one_of<const char*>({"forward", "backward", "slices:", ":backward", ",", "0", "17", "999999999999"});
    if (bytes.byte() % 4 == 0) text += bytes.text();
    if (bytes.byte() % 2) text += ',';
  }
  DirectionList list;
  if (!parse_directions(text, list).empty()) return 0;
  fuzz::expect(list.count >= 1 && list.count <= kMaxDirections, "1 to 8 directions");
  std::string again;
  bool fits = true;
  for (int k = 0; k < list.count; ++k) {
    const Direction& direction = list.items[k];
    fuzz::expect(direction.slices >= 1, "at least one slice");
    again += (k ? ",slices:" : "slices:") + std::to_string(direction.slices) + (direction.backward ? ":backward" : "");
    fits = fits && length % direction.slices == 0;
  }
  DirectionList copy;
  fuzz::expect(parse_directions(again, copy).empty() && copy.count == list.count, "the same directions again");
  for (int k = 0; k < list.count; ++k) {
    fuzz::expect(copy.items[k].slices == list.items[k].slices && copy.items[k].backward == list.items[k].backward,
                 "the same direction again");
  }
  fuzz::expect(check_directions(list, length).empty() == fits, "slices that divide the length");
  return 0;
}
