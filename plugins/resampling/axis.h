// An axis of a resampling as a table of voxels and weights.
#pragma once

#include <cstdint>
#include <vector>

#include "resampling/args.h"

namespace msdk::cpu {

// The pole of the cubic spline's filter, sqrt(3) - 2.
constexpr double kSplinePole = -0.267949192431122706472553658494127633;

class Axis {
 public:
  // in, out: voxels that the data and the results hold, of a part where it says so.
  Axis(int64_t in, int64_t out, int order, const Part& part = {});

  // Whether the data holds every voxel that the table takes.
  bool complete() const;

  // Whether the table takes spline coefficients instead of voxels.
  bool spline() const { return spline_; }
  AxisTable table() const { return {held_, made_, count_, index_.data(), weight_.data()}; }

 private:
  void nearest();
  void linear();
  void cubic();
  double place(int64_t i) const;
  double place_inside(int64_t i) const;
  void add(int64_t index, double weight);

  int64_t in_, out_;              // of the whole axis
  int64_t held_, made_;           // of the part
  int64_t first_in_, first_out_;  // of the part in the whole
  int count_ = 1;
  bool spline_ = false;
  std::vector<int32_t> index_;
  std::vector<float> weight_;
};

}  // namespace msdk::cpu
