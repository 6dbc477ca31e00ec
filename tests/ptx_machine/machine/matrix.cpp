#include "matrix.h"

#include "arithmetic.h"
#include "collectives.h"
#include "memory.h"

namespace ptx_machine {
namespace {

constexpr uint32_t kAllLanes = 0xffffffffu;

struct Pair {
  float first, second;
};

Pair pair_from(Thread& thread, uint32_t word, uint32_t lane) {
  bool in_range = false;
  const uint32_t halves = shuffle(thread, Shuffle::kIndex, word, lane, kWarp - 1, kAllLanes, in_range);
  return {of_half(static_cast<uint16_t>(halves)), of_half(static_cast<uint16_t>(halves >> 16))};
}

}  // namespace

// The PTX ISA's tables, with groupID = lane / 4 and threadID_in_group = lane % 4. Registers of a, two elements each, in
// turn: row groupID, row groupID + 8, of columns 2 threadID_in_group + {0, 1}; for K = 16 the same again 8 columns on.
// Registers of b: column groupID of rows 2 threadID_in_group + {0, 1}, then 8 rows on. Of the sums: row groupID of
// columns 2 threadID_in_group + {0, 1}, then row groupID + 8.
void multiply_matrices(Thread& thread, int K, const uint32_t* a, const uint32_t* b, float* sums) {
  const uint32_t group = thread.lane() / 4, in_group = thread.lane() % 4;
  for (int k = 0; k < K; k += 2) {
    const int eighth = k / 8;
    const uint32_t holder = static_cast<uint32_t>(k % 8 / 2);
    const Pair rows[2] = {pair_from(thread, a[2 * eighth], 4 * group + holder),
                          pair_from(thread, a[2 * eighth + 1], 4 * group + holder)};
    const Pair columns[2] = {pair_from(thread, b[eighth], 4 * (2 * in_group) + holder),
                             pair_from(thread, b[eighth], 4 * (2 * in_group + 1) + holder)};
    for (int sum = 0; sum < 4; ++sum) {
      const Pair row = rows[sum / 2], column = columns[sum % 2];
      sums[sum] += row.first * column.first + row.second * column.second;
    }
  }
}

void load_matrices(Thread& thread, uint32_t address, uint32_t* words) {
  constexpr uint32_t row_bytes = 16;
  if (address % row_bytes != 0) fault(thread, "a row of ldmatrix that is not aligned to 16 bytes");
  for (uint32_t matrix = 0; matrix < 4; ++matrix) {
    bool in_range = false;
    const uint32_t holder = 8 * matrix + thread.lane() / 4;
    const uint32_t row = shuffle(thread, Shuffle::kIndex, address, holder, kWarp - 1, kAllLanes, in_range);
    words[matrix] = load<Space::kShared, Use::kRead, uint32_t, 1>(thread, row + 4 * (thread.lane() % 4))[0];
  }
}

}  // namespace ptx_machine
