#include <cstdio>
#include <string>

#include "ops/directions.h"

int main() {
  using namespace msdk;
  int failures = 0;
  const auto expect = [&](bool ok, const std::string& what) {
    if (ok) return;
    std::printf("FAILED %s\n", what.c_str());
    ++failures;
  };
  DirectionList list;
  expect(parse_directions("forward,backward,slices:64,slices:8:backward", list).empty(), "the four forms");
  expect(list.count == 4, "count");
  expect(list.items[0].slices == 1 && !list.items[0].backward, "forward");
  expect(list.items[1].slices == 1 && list.items[1].backward, "backward");
  expect(list.items[2].slices == 64 && !list.items[2].backward, "slices:64");
  expect(list.items[3].slices == 8 && list.items[3].backward, "slices:8:backward");
  expect(check_directions(list, 128).empty(), "64 and 8 divide 128");
  expect(check_directions(list, 96).find("slices:64") != std::string::npos, "64 does not divide 96");
  for (const char* bad : {"", "forward,", "Forward", "slices", "slices:", "slices:0", "slices:-2", "slices:2x",
                          "slices:2:forward", "slices:99999999999999999999", "forward,,backward", " forward"}) {
    expect(!parse_directions(bad, list).empty(), std::string("refuses '") + bad + "'");
  }
  expect(!parse_directions("forward,forward,forward,forward,forward,forward,forward,forward,forward", list).empty(),
         "refuses nine directions");
  std::printf("%s\n", failures ? "FAILED" : "passed");
  return failures ? 1 : 0;
}
