// Spreads a selective scan over threads. Which task does what depends on the shapes and on Parallel::threads() alone,
// so a result is bit-identical from run to run.
//
// Work is cut by batch, direction and channel block. Two directions that read the same order from either end run at
// the same time without a buffer for either: in a first wave each takes the half it starts with, in a second the half
// the other has just finished. Where that still leaves threads idle, the tokens are cut into chunks too: a summary
// pass finds each chunk's end state from h = 0 and its decay, a carry pass joins them, and the waves start every chunk
// from its true state. The summary repeats most of the work, so chunks pay only where there are kSplitCost times more
// threads than tasks.

#include "ops/selective_scan/cpu.h"

#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/workspace.h"

namespace msdk::cpu {
namespace {

constexpr double kSplitCost = 1.8;        // work of a split scan over that of a whole one
constexpr int64_t kTasksPerThread = 2;    // to even out threads of different speed
constexpr int64_t kMaxBlocksPerTask = 8;  // keeps the states of a task in the L1 cache
constexpr int64_t kMinChunkTiles = 8;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A direction alone, or two that read the same order from either end.
struct Group {
  int first;
  int second = -1;
  bool paired() const { return second >= 0; }
};

struct Groups {
  int count = 0;
  Group items[kMaxDirections];
};

// Those across slices come first: the later ones also read y, and the last one z, which are cheapest in token order.
Groups group_directions(const DirectionList& directions) {
  Groups groups;
  bool taken[kMaxDirections] = {};
  for (int k = 0; k < directions.count; ++k) {
    if (taken[k]) continue;
    Group group{k};
    for (int other = k + 1; other < directions.count && !group.paired(); ++other) {
      const Direction &a = directions.items[k], &b = directions.items[other];
      if (!taken[other] && a.slices == b.slices && a.backward != b.backward) {
        group.second = other;
        taken[other] = true;
      }
    }
    groups.items[groups.count++] = group;
  }
  std::stable_sort(groups.items, groups.items + groups.count, [&](const Group& a, const Group& b) {
    return directions.items[a.first].slices > directions.items[b.first].slices;
  });
  return groups;
}

class Plan {
 public:
  Plan(const SelectiveScanArgs<float>& args, int threads, const Kernels& isa)
      : args_(args), kernels_(isa), groups_(group_directions(args.directions)) {
    blocks_ = ceil_div(args.channels, kernels_.lanes);
    int64_t at_once = args.batch * blocks_;
    if (std::all_of(groups_.items, groups_.items + groups_.count, [](const Group& g) { return g.paired(); })) {
      at_once *= 2;
    }
    const int64_t tiles = ceil_div(args.length, kTileSteps);
    chunks_ = 1;
    if (at_once * kSplitCost < threads) {
      chunks_ = std::min(2 * ceil_div(threads, at_once), tiles / kMinChunkTiles);
      chunks_ = std::max<int64_t>(1, chunks_);
    }
    // Halves for the two waves of a pair; as many chunks in either.
    ranges_ = chunks_ == 1 ? 2 : ceil_div(chunks_, 2) * 2;
    range_steps_ = ceil_div(tiles, ranges_) * kTileSteps;
    blocks_per_task_ = std::clamp<int64_t>(at_once / (kTasksPerThread * threads), 1, kMaxBlocksPerTask);
    blocks_per_task_ = std::min(blocks_per_task_, blocks_);
    tasks_per_set_ = ceil_div(blocks_, blocks_per_task_);
  }

  int64_t state_floats() const {
    const int64_t slots = args_.batch * args_.directions.count * blocks_ * (split() ? ranges_ : 1);
    return slots * kernels_.lanes * (args_.states + (split() ? 1 : 0));
  }

  int64_t scratch_bytes() const { return kernels_.selective_scan.scratch(args_, blocks_per_task_); }

  void run(const Parallel& parallel) {
    static thread_local Workspace workspace;
    const int64_t bytes = state_floats() * static_cast<int64_t>(sizeof(float));
    state_ = workspace.get(bytes);
    std::fill(state_, state_ + state_floats(), 0.0f);
    if (split()) {
      summarise(parallel);
      carry(parallel);
    }
    for (int g = 0; g < groups_.count; ++g) {
      const Group group = groups_.items[g];
      const bool first = g == 0, last = g + 1 == groups_.count;
      if (group.paired()) {
        run_wave(parallel, group, 0, ranges_ / 2, !first, false);
        run_wave(parallel, group, ranges_ / 2, ranges_, true, last);
      } else {
        run_wave(parallel, group, 0, ranges_, !first, last);
      }
    }
  }

 private:
  bool split() const { return chunks_ > 1; }

  // Where the states of a channel block lie; with chunks, those of range 0 .. ranges_-1 in reading order, one after
  // the other. Blocks of one task are neighbours where a task has several, which it never has with chunks.
  int64_t slot(int64_t batch, int direction, int64_t block, int64_t range) const {
    const int64_t set = (batch * args_.directions.count + direction) * blocks_ + block;
    return split() ? set * ranges_ + range : set;
  }
  float* state(int64_t slot) const { return state_ + slot * args_.states * kernels_.lanes; }
  float* delta_sum(int64_t slot) const {
    const int64_t slots = args_.batch * args_.directions.count * blocks_ * ranges_;
    return state_ + slots * args_.states * kernels_.lanes + slot * kernels_.lanes;
  }

  // Ranges [from, to) in the direction's own reading order, as a task.
  ScanTask task(int64_t batch, int direction, int64_t first_block, int64_t from, int64_t to) const {
    ScanTask t{};
    t.batch = batch;
    t.direction = direction;
    t.first_block = first_block;
    t.blocks = std::min(blocks_per_task_, blocks_ - first_block);
    if (args_.directions.items[direction].backward) {
      t.begin = (ranges_ - to) * range_steps_;
      t.end = (ranges_ - from) * range_steps_;
    } else {
      t.begin = from * range_steps_;
      t.end = to * range_steps_;
    }
    t.begin = std::min(t.begin, args_.length);
    t.end = std::min(t.end, args_.length);
    const int64_t index = slot(batch, direction, first_block, from);
    t.state = state(index);
    if (split()) t.delta_sum = delta_sum(index);
    return t;
  }

  void run_wave(const Parallel& parallel, const Group& group, int64_t from, int64_t to, bool accumulate,
                bool finish) const {
    const int64_t pieces = split() ? to - from : 1;
    const int64_t members = group.paired() ? 2 : 1;
    parallel(args_.batch * members * tasks_per_set_ * pieces, [&](int64_t index) {
      const int64_t piece = index % pieces;
      index /= pieces;
      // Members vary fastest: neighbouring tasks go to one thread, which then meets in the second wave the rows of y
      // that it wrote in the first, and not another core's.
      const int direction = index % members ? group.second : group.first;
      index /= members;
      const int64_t block = index % tasks_per_set_ * blocks_per_task_;
      const int64_t begin = split() ? from + piece : from;
      ScanTask t = task(index / tasks_per_set_, direction, block, begin, split() ? begin + 1 : to);
      t.accumulate = accumulate;
      t.finish = finish;
      kernels_.selective_scan.scan(args_, t, task_scratch(scratch_bytes()));
    });
  }

  void summarise(const Parallel& parallel) const {
    const int64_t pieces = ranges_ - 1;  // nobody waits for the last one
    parallel(args_.batch * args_.directions.count * blocks_ * pieces, [&](int64_t index) {
      const int64_t range = index % pieces;
      index /= pieces;
      const int64_t block = index % blocks_;
      index /= blocks_;
      const int direction = static_cast<int>(index % args_.directions.count);
      const ScanTask t = task(index / args_.directions.count, direction, block, range, range + 1);
      kernels_.selective_scan.summary(args_, t, task_scratch(scratch_bytes()));
    });
  }

  // Turns each range's end state from zero into the state it starts from.
  void carry(const Parallel& parallel) const {
    const int64_t floats = args_.states * kernels_.lanes;
    parallel(args_.batch * args_.directions.count * blocks_, [&](int64_t index) {
      const int64_t block = index % blocks_, set = index / blocks_;
      const int direction = static_cast<int>(set % args_.directions.count);
      float* incoming = task_scratch(2 * floats * static_cast<int64_t>(sizeof(float)));
      float* outgoing = incoming + floats;
      std::fill(incoming, incoming + floats, 0.0f);
      for (int64_t range = 0; range < ranges_; ++range) {
        const ScanTask t = task(set / args_.directions.count, direction, block, range, range + 1);
        if (range + 1 < ranges_) kernels_.selective_scan.carry(args_, t, incoming, outgoing);
        std::copy(incoming, incoming + floats, t.state);
        std::swap(incoming, outgoing);
      }
    });
  }

  const SelectiveScanArgs<float>& args_;
  const Kernels& kernels_;
  Groups groups_;
  int64_t blocks_, chunks_, ranges_, range_steps_, blocks_per_task_, tasks_per_set_;
  float* state_ = nullptr;
};

}  // namespace

void selective_scan(const SelectiveScanArgs<float>& args, const Parallel& parallel, const Kernels& isa) {
  if (args.batch * args.channels * args.length == 0) return;
  Plan(args, parallel.threads(), isa).run(parallel);
}

int64_t selective_scan_workspace(const SelectiveScanArgs<float>& args, int threads, const Kernels& isa) {
  const Plan plan(args, threads, isa);
  return plan.state_floats() * static_cast<int64_t>(sizeof(float)) + threads * plan.scratch_bytes();
}

}  // namespace msdk::cpu
