// Drives a fuzz target without libFuzzer: standalone FIRST COUNT runs it on COUNT random inputs, each from its number.

#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const unsigned long first = std::strtoul(arguments[1], nullptr, 10), cases = std::strtoul(arguments[2], nullptr, 10);
  std::printf("inputs %lu to %lu\n", first, first + cases - 1);
  std::fflush(stdout);
  for (unsigned long seed = first; seed < first + cases; ++seed) {
    std::mt19937 rng(static_cast<unsigned>(seed));
    std::vector<uint8_t> input(rng() % 96);
    for (uint8_t& byte : input) byte = static_cast<uint8_t>(rng());
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  return 0;
}
