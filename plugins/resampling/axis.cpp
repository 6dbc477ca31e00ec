// Compiled without fused multiply-adds: where a voxel lies just between two others, SciPy's rounding decides.

#include "resampling/axis.h"

#include <algorithm>
#include <cmath>

namespace msdk::cpu {

Axis::Axis(int64_t in, int64_t out, int order, const Part& part)
    : in_(part.whole_in ? part.whole_in : in),
      out_(part.whole_in ? part.whole_out : out),
      held_(in),
      made_(out),
      first_in_(part.first_in),
      first_out_(part.first_out) {
  if (in_ == out_ || in_ == 1 || order == 0) {
    nearest();
  } else if (order == 1) {
    count_ = 2;
    linear();
  } else {
    count_ = 4;
    spline_ = true;
    cubic();
  }
}

bool Axis::complete() const {
  return std::all_of(index_.begin(), index_.end(), [&](int32_t index) { return index >= 0 && index < held_; });
}

double Axis::place(int64_t i) const {
  const double step = static_cast<double>(in_) / static_cast<double>(out_);
  return (static_cast<double>(first_out_ + i) + 0.5) * step - 0.5;
}

double Axis::place_inside(int64_t i) const { return std::clamp(place(i), 0.0, static_cast<double>(in_ - 1)); }

void Axis::add(int64_t index, double weight) {
  index_.push_back(static_cast<int32_t>(index - first_in_));
  weight_.push_back(static_cast<float>(weight));
}

void Axis::nearest() {
  for (int64_t i = 0; i < made_; ++i) add(static_cast<int64_t>(std::floor(place_inside(i) + 0.5)), 1);
}

void Axis::linear() {
  for (int64_t i = 0; i < made_; ++i) {
    const double x = place_inside(i);
    const int64_t first = std::min(static_cast<int64_t>(x), in_ - 2);
    const double share = x - static_cast<double>(first);
    add(first, 1 - share);
    add(first + 1, share);
  }
}

// Beyond an edge the voxels repeat the last one, v, and so the coefficients approach it: c[-j] = v + pole^j (c[0] - v).
// With 6 v = c[-1] + 4 c[0] + c[1] this makes c[-1] and c[-2] sums of c[0] and c[1]; the far edge mirrors it.
void Axis::cubic() {
  const double z = kSplinePole, q = (1 - z) / 6;
  const double before[2] = {(z + 4 * q) / (1 - q), q / (1 - q)};            // c[-1] of c[0], c[1]
  const double edge[2] = {(before[0] - z) / (1 - z), before[1] / (1 - z)};  // v of c[0], c[1]
  const double second[2] = {edge[0] * (1 - z * z) + z * z, edge[1] * (1 - z * z)};
  for (int64_t i = 0; i < made_; ++i) {
    const double x = place(i), floor = std::floor(x), t = x - floor, u = 1 - t;
    const double weights[4] = {u * u * u / 6, (3 * t * t * (t - 2) + 4) / 6, (3 * u * u * (u - 2) + 4) / 6,
                               t * t * t / 6};
    const int64_t first = static_cast<int64_t>(floor) - 1;
    const int64_t base = std::clamp<int64_t>(first, 0, std::max<int64_t>(0, in_ - 4));
    double sums[4] = {};
    for (int tap = 0; tap < 4; ++tap) {
      const int64_t at = first + tap;
      const int64_t beyond = at < 0 ? -at : at - in_ + 1;
      if (beyond <= 0) {
        sums[at - base] += weights[tap];
        continue;
      }
      const double* shares = beyond == 1 ? before : second;
      const int64_t near = at < 0 ? 0 : in_ - 1, next = at < 0 ? 1 : in_ - 2;
      sums[near - base] += weights[tap] * shares[0];
      sums[next - base] += weights[tap] * shares[1];
    }
    for (int tap = 0; tap < 4; ++tap) add(std::min(base + tap, in_ - 1), sums[tap]);
  }
}

}  // namespace msdk::cpu
