// conv_transpose3d of every kernel set against a reference in double: rows shorter than a vector and longer, any of its
// kernels, with a skip and without, either input normalised or not, rows and channels cut into tasks in many ways,
// tensors that end where a sanitizer sees the next byte, outputs poisoned, every run repeated bit for bit.

#include "kernel_fixture.h"

using namespace msdk;
using namespace msdk::test;

namespace {

struct Case {
  int64_t batch, in_channels, out_channels, skip_channels, sides[3], kernel[3];
};

std::vector<double> reference(const ConvTranspose3dArgs& a) {
  const int64_t out[3] = {a.in[0] * a.kernel[0], a.in[1] * a.kernel[1], a.in[2] * a.kernel[2]};
  const int64_t larger = out[0] * out[1] * out[2], voxels = a.in[0] * a.in[1] * a.in[2];
  std::vector<double> y;
  for (int64_t b = 0; b < a.batch; ++b) {
    for (int64_t o = 0; o < a.out_channels; ++o) {
      for (int64_t p = 0; p < larger; ++p) {
        const int64_t at[3] = {p / (out[1] * out[2]), p / out[2] % out[1], p % out[2]};
        int64_t from = 0, tap = 0;
        for (int axis = 0; axis < 3; ++axis) {
          from = from * a.in[axis] + at[axis] / a.kernel[axis];
          tap = tap * a.kernel[axis] + at[axis] % a.kernel[axis];
        }
        double sum = a.bias[o];
        for (int64_t c = 0; c < a.in_channels; ++c) {
          const int64_t taps = a.kernel[0] * a.kernel[1] * a.kernel[2];
          const int64_t channel = b * a.in_channels + c;
          const float x = a.x[channel * voxels + from];
          const double read = a.norm.channels ? normed(a.norm.channels[channel], a.norm.slope, x) : x;
          sum += double(a.weight[(c * a.out_channels + o) * taps + tap]) * read;
        }
        y.push_back(sum);
      }
    }
    for (int64_t channel = b * a.skip_channels; channel < (b + 1) * a.skip_channels; ++channel) {
      for (const float* skip = a.skip + channel * larger; skip < a.skip + (channel + 1) * larger; ++skip) {
        y.push_back(a.skip_norm.channels ? normed(a.skip_norm.channels[channel], a.skip_norm.slope, *skip) : *skip);
      }
    }
  }
  return y;
}

void test(const cpu::Kernels& isa, const Case& c, bool is_normed, int threads) {
  std::mt19937 rng(13);
  ConvTranspose3dArgs a{};
  a.batch = c.batch, a.in_channels = c.in_channels, a.out_channels = c.out_channels, a.skip_channels = c.skip_channels;
  int64_t voxels = 1, taps = 1;
  for (int axis = 0; axis < 3; ++axis) {
    a.in[axis] = c.sides[axis], a.kernel[axis] = c.kernel[axis];
    voxels *= c.sides[axis], taps *= c.kernel[axis];
  }
  const Floats x = uniform(rng, c.batch * c.in_channels * voxels, -1, 1);
  const Floats weight = uniform(rng, c.in_channels * c.out_channels * taps, -1, 1);
  const Floats bias = uniform(rng, c.out_channels, -1, 1);
  const Floats skip = uniform(rng, c.batch * c.skip_channels * voxels * taps, -1, 1);
  a.x = x.data(), a.weight = weight.data(), a.bias = bias.data(), a.skip = c.skip_channels ? skip.data() : nullptr;
  const std::vector<Normalisation> norms = random_norms(rng, c.batch * c.skip_channels, 0);
  if (is_normed) a.skip_norm = {norms.data(), 0.2f};
  const std::vector<Normalisation> norms_of_x = random_norms(rng, c.batch * c.in_channels, 0);
  if (is_normed && threads > 1) a.norm = {norms_of_x.data(), 0.2f};
  const Floats packed = cpu::pack_conv_transpose3d(a, isa);

  Threads pool{std::min(threads, 3)};
  const cpu::Parallel parallel(run_on_threads, &pool, threads);
  const std::string what = text_of({c.batch, c.in_channels, c.out_channels, c.skip_channels, c.sides[0], c.sides[1],
                                    c.sides[2], c.kernel[0], c.kernel[1], c.kernel[2], is_normed, threads});
  const size_t size = static_cast<size_t>(c.batch * (c.out_channels + c.skip_channels) * voxels * taps);
  const Floats y = run_twice("conv_transpose3d", isa.name, what, size, [&](float* out) {
    a.y = out;
    cpu::conv_transpose3d(a, packed.data(), parallel, isa);
  });
  expect_close("conv_transpose3d", isa.name, what, relative_error(y, reference(a)), 1e-6);
}

void test_all(const cpu::Kernels& isa) {
  const Case cases[] = {
      {1, 1, 1, 0, {1, 1, 1}, {1, 1, 1}},    {2, 3, 5, 2, {2, 3, 4}, {2, 2, 2}},   {1, 5, 8, 0, {3, 2, 7}, {2, 2, 2}},
      {1, 9, 3, 1, {2, 3, 8}, {1, 2, 2}},    {2, 4, 7, 3, {3, 1, 9}, {2, 1, 2}},   {1, 2, 3, 4, {1, 4, 15}, {2, 2, 1}},
      {1, 70, 2, 0, {4, 7, 16}, {2, 2, 2}},  {2, 3, 4, 1, {5, 2, 17}, {1, 1, 2}},  {1, 8, 4, 0, {1, 5, 33}, {1, 2, 1}},
      {1, 3, 9, 9, {12, 9, 3}, {2, 2, 2}},   {1, 33, 1, 1, {2, 2, 1}, {2, 1, 1}},  {1, 2, 1, 1, {2, 3, 200}, {2, 2, 2}},
      {1, 300, 40, 5, {2, 2, 2}, {2, 2, 2}}, {2, 1, 3, 7, {24, 5, 24}, {2, 2, 2}},
  };
  int count = 0;
  for (const Case& c : cases) {
    for (const int threads : {1, 3, 64}) {
      for (const bool is_normed : {false, true}) test(isa, c, is_normed, threads);
      count += 2;
    }
  }
  std::printf("%s: %d cases done\n", isa.name, count);
}

}  // namespace

int main() {
  for_each_kernel_set(test_all);
  return finish();
}
