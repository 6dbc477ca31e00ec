#include "resampling/cpu.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/workspace.h"
#include "resampling/axis.h"

namespace msdk::cpu {
namespace {

constexpr int64_t kColumns = 1024;  // of a task that filters along the depth
constexpr int64_t kPlanes = 8;      // of a task, which share source planes

int64_t blocks(int64_t count, int64_t size) { return (count + size - 1) / size; }

struct Range {
  float low, high;
};

class Resampling {
 public:
  Resampling(const ResamplingArgs& args, const Parallel& parallel, const Kernels& isa)
      : a_(args),
        parallel_(parallel),
        isa_(isa),
        axes_{Axis(a_.in[0], a_.out[0], a_.order[0], a_.part), Axis(a_.in[1], a_.out[1], a_.order[1]),
              Axis(a_.in[2], a_.out[2], a_.order[2])},
        tables_{axes_[0].table(), axes_[1].table(), axes_[2].table()},
        plane_(a_.in[1] * a_.in[2]),
        volume_(a_.in[0] * plane_) {}

  bool spline() const { return axes_[0].spline() || axes_[1].spline() || axes_[2].spline(); }
  int64_t volume() const { return volume_; }

  // The range of each plane, or of each channel, that results are clipped to. False if a value is not finite.
  bool find_ranges() {
    const int64_t planes = a_.channels * a_.in[0];
    if (a_.clip == Clip::kNone) return true;
    std::atomic<bool> finite{true};
    ranges_.resize(static_cast<size_t>(planes));
    parallel_(planes, [&](int64_t i) {
      Range& range = ranges_[static_cast<size_t>(i)];
      if (!isa_.resampling.range(a_.data + i * plane_, plane_, &range.low, &range.high)) finite = false;
    });
    if (a_.clip == Clip::kChannel) {
      for (int64_t c = 0; c < a_.channels; ++c) {
        Range all = ranges_[static_cast<size_t>(c * a_.in[0])];
        for (int64_t d = 1; d < a_.in[0]; ++d) {
          const Range& range = ranges_[static_cast<size_t>(c * a_.in[0] + d)];
          all = {std::min(all.low, range.low), std::max(all.high, range.high)};
        }
        ranges_[static_cast<size_t>(c)] = all;
      }
    }
    return finite;
  }

  // Spline coefficients of a channel, along the axes that take them.
  void filter(const float* data, float* coefficients) const {
    const ResamplingKernels& kernels = isa_.resampling;
    if (axes_[0].spline()) {
      parallel_(blocks(plane_, kColumns), [&](int64_t i) {
        const int64_t at = i * kColumns;
        kernels.filter_columns(data + at, coefficients + at, a_.in[0], plane_, std::min(kColumns, plane_ - at));
      });
    }
    parallel_(a_.in[0], [&](int64_t i) {
      float* plane = coefficients + i * plane_;
      const float* source = axes_[0].spline() ? plane : data + i * plane_;
      if (axes_[1].spline()) {
        kernels.filter_columns(source, plane, a_.in[1], a_.in[2], a_.in[2]);
      } else if (source != plane) {
        std::memcpy(plane, source, sizeof(float) * static_cast<size_t>(plane_));
      }
      if (axes_[2].spline()) kernels.filter_rows(plane, a_.in[1], a_.in[2], scratch());
    });
  }

  // f(tile, scratch) for all tiles of the output, without a source and a range.
  template <class F>
  void each_tile(F&& f) const {
    const int64_t rows = blocks(a_.out[1], isa_.lanes), planes = blocks(a_.out[0], kPlanes);
    parallel_(rows * planes, [&](int64_t i) {
      const int64_t row = i / planes * isa_.lanes, first = i % planes * kPlanes;
      for (int64_t plane = first; plane < std::min(first + kPlanes, a_.out[0]); ++plane) {
        constexpr float kInfinity = std::numeric_limits<float>::infinity();
        f(ResamplingTile{nullptr, tables_, plane, row, -kInfinity, kInfinity, a_.half}, scratch());
      }
    });
  }

  ResamplingTile of_channel(ResamplingTile tile, int64_t channel, const float* source) const {
    tile.source = source;
    if (a_.clip != Clip::kNone) {
      const int64_t i = a_.clip == Clip::kChannel ? channel : channel * a_.in[0] + tables_[0].index[tile.plane];
      tile.low = ranges_[static_cast<size_t>(i)].low;
      tile.high = ranges_[static_cast<size_t>(i)].high;
    }
    return tile;
  }

 private:
  float* scratch() const { return task_scratch(isa_.resampling.scratch(tables_)); }

  const ResamplingArgs& a_;
  const Parallel& parallel_;
  const Kernels& isa_;
  const Axis axes_[3];
  const AxisTable tables_[3];
  const int64_t plane_, volume_;  // voxels of the data's
  std::vector<Range> ranges_;
};

std::unique_ptr<float[]> memory_for(int64_t floats) {
  return std::unique_ptr<float[]>(new float[static_cast<size_t>(floats)]);
}

}  // namespace

bool resample(const ResamplingArgs& a, float* out, const Parallel& parallel, const Kernels& isa) {
  Resampling work(a, parallel, isa);
  if (!work.find_ranges()) return false;
  const std::unique_ptr<float[]> coefficients = memory_for(work.spline() ? work.volume() : 0);
  const int64_t plane = a.out[1] * a.out[2];
  for (int64_t channel = 0; channel < a.channels; ++channel) {
    const float* source = a.data + channel * work.volume();
    if (work.spline()) {
      work.filter(source, coefficients.get());
      source = coefficients.get();
    }
    float* to = out + channel * a.out[0] * plane;
    work.each_tile([&](const ResamplingTile& tile, float* scratch) {
      isa.resampling.values(work.of_channel(tile, channel, source), to + tile.plane * plane, scratch);
    });
  }
  return true;
}

bool resample_to_labels(const ResamplingArgs& a, const LabelArgs& labels, const Parallel& parallel,
                        const Kernels& isa) {
  Resampling work(a, parallel, isa);
  if (!work.find_ranges()) return false;
  const std::unique_ptr<float[]> coefficients = memory_for(work.spline() ? a.channels * work.volume() : 0);
  const float* source = a.data;
  if (work.spline()) {
    for (int64_t channel = 0; channel < a.channels; ++channel) {
      work.filter(a.data + channel * work.volume(), coefficients.get() + channel * work.volume());
    }
    source = coefficients.get();
  }
  const int64_t plane = a.out[1] * a.out[2] * labels.bytes;
  work.each_tile([&](const ResamplingTile& tile, float* scratch) {
    for (int64_t channel = 0; channel < a.channels; ++channel) {
      isa.resampling.compare(work.of_channel(tile, channel, source + channel * work.volume()), channel,
                             labels.values[channel], labels.sigmoid, scratch);
    }
    isa.resampling.store_labels(tile, static_cast<char*>(labels.labels) + tile.plane * plane, labels.bytes, scratch);
  });
  return true;
}

}  // namespace msdk::cpu
