// conv3d of every kernel set against a reference in double: by Winograd and tap by tap, rows cut into tasks in many
// ways, tensors that end where a sanitizer sees the next byte, outputs poisoned, every run repeated bit for bit. Of
// plain x, and of x that is normalised as it is read; moments of y.

#include "kernel_fixture.h"

using namespace msdk;
using namespace msdk::test;

namespace {

struct Case {
  int64_t batch, in_channels, out_channels, groups, sides[3], kernel, stride, before, after;
};

double value_of(const Conv3dArgs& a, int64_t channel, float x) {
  return a.norm.channels ? normed(a.norm.channels[channel], a.norm.slope, x) : x;
}

// y, and its size if no terms cancelled for x of at most 1: Winograd's rounding is relative to that.
std::pair<std::vector<double>, double> reference(const Conv3dArgs& a) {
  const int64_t channels = a.in_channels / a.groups, outputs = a.out_channels / a.groups;
  std::vector<double> y;
  double largest = 0;
  for (int64_t b = 0; b < a.batch; ++b) {
    for (int64_t o = 0; o < a.out_channels; ++o) {
      for (int64_t p = 0; p < a.out[0] * a.out[1] * a.out[2]; ++p) {
        const int64_t at[3] = {p / (a.out[1] * a.out[2]), p / a.out[2] % a.out[1], p % a.out[2]};
        double sum = a.bias ? a.bias[o] : 0, size = std::fabs(sum);
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t channel = b * a.in_channels + o / outputs * channels + c;
          const float* x = a.x + channel * a.in[0] * a.in[1] * a.in[2];
          const float* weight = a.weight + (o * channels + c) * a.kernel[0] * a.kernel[1] * a.kernel[2];
          for (int64_t tap = 0; tap < a.kernel[0] * a.kernel[1] * a.kernel[2]; ++tap) {
            const int64_t of[3] = {tap / (a.kernel[1] * a.kernel[2]), tap / a.kernel[2] % a.kernel[1],
                                   tap % a.kernel[2]};
            int64_t from = 0;
            bool inside = true;
            for (int axis = 0; axis < 3; ++axis) {
              const int64_t i = at[axis] * a.stride[axis] - a.before[axis] + of[axis];
              inside = inside && i >= 0 && i < a.in[axis];
              from = from * a.in[axis] + i;
            }
            if (inside) sum += double(weight[tap]) * value_of(a, channel, x[from]);
            size += std::fabs(weight[tap]);
          }
        }
        y.push_back(sum);
        largest = std::max(largest, size);
      }
    }
  }
  return {y, largest};
}

// That the moments of y are those of its numbers. Of a convolution of single voxels they are InstanceNorm's.
void test_moments(const cpu::Kernels& isa, const std::string& what, const Floats& y, const std::vector<double>& given,
                  bool of_voxels) {
  const double limit = of_voxels ? 1e-7 : 1e-12;
  const size_t voxels = y.size() / (given.size() / 2);
  for (size_t channel = 0; channel < given.size() / 2; ++channel) {
    double mean = 0, squares = 0;
    for (size_t i = 0; i < voxels; ++i) mean += y[channel * voxels + i] / static_cast<double>(voxels);
    for (size_t i = 0; i < voxels; ++i) squares += std::pow(y[channel * voxels + i] - mean, 2);
    const double variance = squares / static_cast<double>(voxels), size = variance + mean * mean + 1e-30;
    expect_close("conv3d's mean", isa.name, what, std::fabs(given[2 * channel] - mean) / std::sqrt(size), limit);
    expect_close("conv3d's variance", isa.name, what, std::fabs(given[2 * channel + 1] - variance) / size, limit);
  }
}

void test(const cpu::Kernels& isa, const Case& c, bool has_bias, bool is_normed, int threads) {
  std::mt19937 rng(11);
  Conv3dArgs a{};
  a.batch = c.batch, a.in_channels = c.in_channels, a.out_channels = c.out_channels, a.groups = c.groups;
  int64_t voxels = 1, taps = 1;
  for (int axis = 0; axis < 3; ++axis) {
    a.in[axis] = c.sides[axis], a.kernel[axis] = c.kernel, a.stride[axis] = c.stride;
    a.before[axis] = c.before, a.after[axis] = c.after;
    a.out[axis] = (a.in[axis] + c.before + c.after - c.kernel) / c.stride + 1;
    voxels *= a.in[axis], taps *= c.kernel;
  }
  const float about = is_normed ? 5 : 0;
  const Floats x = uniform(rng, c.batch * c.in_channels * voxels, about - 1, about + 1);
  const Floats weight = uniform(rng, c.out_channels * c.in_channels / c.groups * taps, -1, 1);
  const Floats bias = uniform(rng, c.out_channels, -1, 1);
  a.x = x.data(), a.weight = weight.data(), a.bias = has_bias ? bias.data() : nullptr;
  const Floats packed = cpu::pack_conv3d(a, isa);
  const std::vector<Normalisation> norms = random_norms(rng, c.batch * c.in_channels, about);
  if (is_normed) a.norm = {norms.data(), has_bias ? 0.01f : 0.0f};
  std::vector<double> moments(static_cast<size_t>(2 * c.batch * c.out_channels));
  if (has_bias) a.moments = moments.data();

  Threads pool{std::min(threads, 3)};
  const cpu::Parallel parallel(run_on_threads, &pool, threads);
  const std::string what = text_of({c.batch, c.in_channels, c.out_channels, c.groups, c.sides[0], c.sides[1],
                                    c.sides[2], c.kernel, c.stride, c.before, c.after, is_normed, threads});
  const size_t size = static_cast<size_t>(c.batch * c.out_channels * a.out[0] * a.out[1] * a.out[2]);
  const Floats y = run_twice("conv3d", isa.name, what, size, [&](float* out) {
    a.y = out;
    cpu::conv3d(a, packed.data(), parallel, isa);
  });
  const auto [expected, largest] = reference(a);
  expect_close("conv3d", isa.name, what, relative_error(y, expected, largest), 5e-7);
  if (a.moments) test_moments(isa, what, y, moments, taps == 1);
}

void test_all(const cpu::Kernels& isa) {
  const Case cases[] = {
      // By Winograd along depth and height: sides odd and even, rows shorter than a vector and longer, few channels,
      // more than a block.
      {1, 2, 1, 1, {1, 1, 1}, 3, 1, 1, 1},
      {2, 3, 5, 1, {2, 3, 4}, 3, 1, 1, 1},
      {1, 5, 8, 1, {5, 6, 15}, 3, 1, 1, 1},
      {1, 9, 13, 1, {6, 5, 16}, 3, 1, 1, 1},
      {2, 4, 17, 1, {3, 9, 33}, 3, 1, 1, 1},
      {1, 2, 3, 1, {4, 4, 200}, 3, 1, 1, 1},
      {1, 70, 20, 1, {4, 7, 5}, 3, 1, 1, 1},
      {1, 3, 4, 1, {24, 22, 3}, 3, 1, 1, 1},
      {1, 8, 4, 1, {17, 5, 1}, 3, 1, 1, 1},
      // Along all axes: tiles that end where rows end and do not, rows of part of a vector of tiles and of several,
      // tasks within a plane of tiles and of several planes.
      {1, 16, 1, 1, {1, 1, 1}, 3, 1, 1, 1},
      {2, 16, 5, 1, {4, 4, 64}, 3, 1, 1, 1},
      {1, 19, 13, 1, {5, 7, 17}, 3, 1, 1, 1},
      {1, 17, 9, 1, {6, 18, 19}, 3, 1, 1, 1},
      {1, 16, 3, 1, {3, 2, 259}, 3, 1, 1, 1},
      {1, 16, 8, 1, {22, 6, 20}, 3, 1, 1, 1},
      {1, 70, 20, 1, {2, 9, 16}, 3, 1, 1, 1},
      {1, 33, 17, 1, {17, 5, 2}, 3, 1, 1, 1},
      // Of more channels: along depth and height, in smaller tiles of still more.
      {1, 200, 165, 1, {3, 2, 17}, 3, 1, 1, 1},
      {2, 170, 193, 1, {5, 4, 3}, 3, 1, 1, 1},
      {1, 1025, 65, 1, {3, 2, 4}, 3, 1, 1, 1},
      {1, 260, 18, 1, {2, 5, 9}, 3, 1, 1, 1},
      // The same with stride 2.
      {1, 2, 1, 1, {1, 1, 1}, 3, 2, 1, 1},
      {2, 3, 5, 1, {2, 3, 4}, 3, 2, 1, 1},
      {1, 5, 8, 1, {5, 6, 15}, 3, 2, 1, 1},
      {1, 9, 13, 1, {6, 5, 16}, 3, 2, 1, 1},
      {2, 4, 17, 1, {3, 9, 33}, 3, 2, 1, 1},
      {1, 2, 3, 1, {4, 4, 200}, 3, 2, 1, 1},
      {1, 70, 20, 1, {4, 7, 31}, 3, 2, 1, 1},
      {1, 3, 4, 1, {24, 22, 3}, 3, 2, 1, 1},
      {1, 8, 4, 1, {17, 5, 1}, 3, 2, 1, 1},
      {1, 16, 9, 1, {17, 18, 65}, 3, 2, 1, 1},
      {2, 6, 3, 1, {9, 7, 130}, 3, 2, 1, 1},
      {1, 3, 10, 1, {8, 40, 34}, 3, 2, 1, 1},
      {1, 2, 2, 1, {33, 16, 23}, 3, 2, 1, 1},
      // Of more channels, along depth and height.
      {1, 260, 130, 1, {3, 2, 9}, 3, 2, 1, 1},
      {2, 170, 193, 1, {2, 3, 9}, 3, 2, 1, 1},
      // Tap by tap: no padding and uneven padding, strides, groups of one channel and of several.
      {1, 3, 9, 1, {5, 6, 20}, 3, 1, 0, 0},
      {1, 2, 4, 1, {5, 4, 18}, 3, 1, 1, 0},
      {2, 1, 9, 1, {13, 11, 35}, 7, 2, 3, 3},
      {1, 4, 5, 1, {8, 9, 17}, 3, 2, 1, 0},
      {1, 325, 316, 1, {3, 2, 5}, 3, 2, 1, 1},
      {1, 2, 2, 1, {9, 7, 40}, 4, 3, 2, 1},
      {2, 5, 5, 5, {4, 5, 37}, 3, 1, 1, 1},
      {1, 6, 4, 2, {4, 3, 16}, 3, 1, 1, 1},
      {1, 3, 6, 3, {3, 4, 9}, 2, 2, 0, 0},
      {1, 2, 1, 1, {3, 3, 9}, 1, 1, 0, 0},
      // Depthwise, from x as it lies: rows of part of a vector, of whole ones and of both; few rows and many.
      {1, 3, 3, 3, {5, 7, 16}, 3, 1, 1, 1},
      {2, 2, 2, 2, {3, 9, 33}, 3, 1, 1, 1},
      {1, 2, 2, 2, {2, 4, 64}, 3, 1, 1, 1},
      {1, 3, 3, 3, {1, 1, 1}, 3, 1, 1, 1},
      {1, 5, 5, 5, {4, 6, 7}, 3, 1, 1, 1},
      {1, 3, 3, 3, {4, 5, 20}, 3, 1, 1, 0},
      {1, 3, 6, 3, {4, 5, 20}, 3, 1, 1, 1},
      // Tap by tap into y at once, row by row and all rows of a task together: one vector to several, whole and not.
      {2, 1, 9, 1, {3, 4, 47}, 3, 1, 1, 1},
      {1, 1, 3, 1, {4, 3, 131}, 3, 2, 1, 1},
      {1, 1, 17, 1, {5, 6, 96}, 7, 2, 3, 3},
      {1, 1, 1, 1, {1, 1, 1}, 3, 1, 1, 1},
      {2, 3, 10, 1, {4, 14, 26}, 2, 2, 0, 0},
      {1, 9, 5, 1, {2, 9, 11}, 1, 1, 0, 0},
  };
  int count = 0;
  for (const Case& c : cases) {
    for (const int threads : {1, 3, 64}) {
      test(isa, c, count++ % 2 == 0, false, threads);
      if (threads != 3) test(isa, c, count % 3 == 0, true, threads);
    }
  }
  std::printf("%s: %d cases done\n", isa.name, count);
}

}  // namespace

int main() {
  for_each_kernel_set(test_all);
  return finish();
}
