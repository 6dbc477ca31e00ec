// Resampling of every kernel set against a reference in double, whose spline solves the equations of its nodes: sides
// of one voxel, shorter than a vector and longer, all orders, clipped and not, float16 results, labels of both rules,
// tensors that end where a sanitizer sees the next byte, outputs poisoned, every run repeated bit for bit.

#include "resampling/axis.h"
#include "resampling/cpu.h"

#include <algorithm>
#include <array>

#include "kernel_fixture.h"
#include "resampling/resampling.h"

using namespace msdk;
using namespace msdk::test;

namespace {

using Doubles = std::vector<double>;

constexpr int64_t kRepeated = 40;  // voxels that stand for the endless repetition of an edge

// Coefficients c with (c[i-1] + 4 c[i] + c[i+1]) / 6 = line[i], the line and the coefficients constant beyond.
Doubles spline_of(const Doubles& line) {
  const size_t count = line.size();
  Doubles diagonal(count, 4), c(count);
  diagonal.front() = diagonal.back() = 5;
  for (size_t i = 0; i < count; ++i) c[i] = 6 * line[i];
  for (size_t i = 1; i < count; ++i) {
    diagonal[i] -= 1 / diagonal[i - 1];
    c[i] -= c[i - 1] / diagonal[i - 1];
  }
  for (size_t i = count; i-- > 0;) c[i] = (c[i] - (i + 1 < count ? c[i + 1] : 0)) / diagonal[i];
  return c;
}

double bump(double x) {
  x = std::fabs(x);
  return x < 1 ? 2.0 / 3 - x * x * (2 - x) / 2 : x < 2 ? (2 - x) * (2 - x) * (2 - x) / 6 : 0;
}

Doubles resample_line(const Doubles& line, int64_t out, int order) {
  const int64_t in = static_cast<int64_t>(line.size());
  if (in == out) return line;
  Doubles repeated;
  for (int64_t i = -kRepeated; i < in + kRepeated; ++i) repeated.push_back(line[std::clamp<int64_t>(i, 0, in - 1)]);
  const Doubles c = order == 3 ? spline_of(repeated) : repeated;
  Doubles result;
  for (int64_t i = 0; i < out; ++i) {
    const double x = (i + 0.5) * (static_cast<double>(in) / out) - 0.5;
    double sum = 0;
    for (int64_t k = -1; k <= 2; ++k) {
      const double at = std::floor(x) + k;
      sum += c[at + kRepeated] * (order == 3 ? bump(x - at) : std::max(0.0, 1 - std::fabs(x - at)));
    }
    result.push_back(order == 0 ? c[std::floor(x + 0.5) + kRepeated] : sum);
  }
  return result;
}

// Lines of a volume along `axis`, one after another.
Doubles along(const Doubles& volume, std::array<int64_t, 3>& sides, int axis, int64_t out, int order) {
  std::array<int64_t, 3> after = sides;
  after[axis] = out;
  Doubles result(after[0] * after[1] * after[2]);
  const int64_t step = axis == 0 ? sides[1] * sides[2] : axis == 1 ? sides[2] : 1;
  for (int64_t first = 0; first < static_cast<int64_t>(volume.size()); ++first) {
    if (first / step % sides[axis] != 0) continue;
    Doubles line;
    for (int64_t i = 0; i < sides[axis]; ++i) line.push_back(volume[first + i * step]);
    line = resample_line(line, out, order);
    const int64_t to = first / step / sides[axis] * step * out + first % step;
    for (int64_t i = 0; i < out; ++i) result[to + i * step] = line[i];
  }
  sides = after;
  return result;
}

void clip(Doubles& values, const Doubles& range) {
  const auto [low, high] = std::minmax_element(range.begin(), range.end());
  for (double& value : values) value = std::clamp(value, *low, *high);
}

Doubles reference(const ResamplingArgs& a) {
  const int64_t voxels = a.in[0] * a.in[1] * a.in[2], plane = a.in[1] * a.in[2];
  Doubles result;
  for (int64_t channel = 0; channel < a.channels; ++channel) {
    const Doubles data(a.data + channel * voxels, a.data + (channel + 1) * voxels);
    Doubles planes;
    for (int64_t d = 0; d < a.in[0]; ++d) {
      const Doubles before(data.begin() + d * plane, data.begin() + (d + 1) * plane);
      std::array<int64_t, 3> sides{1, a.in[1], a.in[2]};
      Doubles after = along(along(before, sides, 1, a.out[1], a.order[1]), sides, 2, a.out[2], a.order[2]);
      if (a.clip == Clip::kPlane) clip(after, before);
      planes.insert(planes.end(), after.begin(), after.end());
    }
    std::array<int64_t, 3> sides{a.in[0], a.out[1], a.out[2]};
    Doubles volume = along(planes, sides, 0, a.out[0], a.order[0]);
    if (a.clip == Clip::kChannel) clip(volume, data);
    result.insert(result.end(), volume.begin(), volume.end());
  }
  return result;
}

struct Case {
  int64_t channels, in[3], out[3];
  int order[3];
  Clip clip;
};

ResamplingArgs args_of(const Case& c, bool half, const Floats& data) {
  return {c.channels,
          {c.in[0], c.in[1], c.in[2]},
          {c.out[0], c.out[1], c.out[2]},
          {c.order[0], c.order[1], c.order[2]},
          c.clip,
          half,
          data.data()};
}

std::string text(const Case& c, bool half) {
  return text_of({c.channels, c.in[0], c.in[1], c.in[2], c.out[0], c.out[1], c.out[2], c.order[0], c.order[1],
                  static_cast<int>(c.clip), half});
}

void expect(bool right, const char* what, const char* isa, const std::string& text) {
  if (right) return;
  std::printf("FAILED %s [%s] %s\n", what, isa, text.c_str());
  ++failures;
}

// The labels of values (channels, *out), which are the kernels' own: labels are compared exactly.
template <class T>
void test_labels(const cpu::Kernels& isa, const cpu::Parallel& parallel, const ResamplingArgs& a, const Floats& values,
                 const std::string& what) {
  const int64_t voxels = a.out[0] * a.out[1] * a.out[2];
  std::vector<int32_t> names;
  for (int64_t channel = 0; channel < a.channels; ++channel) {
    names.push_back(static_cast<int32_t>((sizeof(T) == 1 ? 11 : 4001) * (channel + 1)));
  }
  for (const bool sigmoid : {false, true}) {
    std::vector<T> labels(voxels, 77);
    cpu::resample_to_labels(a, {names.data(), sigmoid, labels.data(), sizeof(T)}, parallel, isa);
    for (int64_t i = 0; i < voxels; ++i) {
      int64_t largest = 0;
      int32_t region = 0;
      for (int64_t channel = 0; channel < a.channels; ++channel) {
        if (values[channel * voxels + i] > values[largest * voxels + i]) largest = channel;
        if (values[channel * voxels + i] > 0) region = names[channel];
      }
      if (labels[i] == (sigmoid ? region : names[largest])) continue;
      expect(false, sigmoid ? "regions" : "labels", isa.name, what);
      break;
    }
  }
}

// Three planes of results at a time, from no more planes of data than these need, are those of the whole `values`.
void test_parts(const cpu::Kernels& isa, const cpu::Parallel& parallel, const ResamplingArgs& whole,
                const Floats& values, const std::string& what) {
  const int64_t in_plane = whole.in[1] * whole.in[2], out_plane = whole.out[1] * whole.out[2];
  const cpu::Axis axis(whole.in[0], whole.out[0], whole.order[0]);
  const AxisTable table = axis.table();
  for (int64_t first = 0; first < whole.out[0]; first += 3) {
    const int64_t count = std::min<int64_t>(3, whole.out[0] - first);
    const auto [low, high] =
        std::minmax_element(table.index + first * table.count, table.index + (first + count) * table.count);
    Floats data;
    for (int64_t channel = 0; channel < whole.channels; ++channel) {
      const float* from = whole.data + (channel * whole.in[0] + *low) * in_plane;
      data.insert(data.end(), from, from + (*high - *low + 1) * in_plane);
    }
    ResamplingArgs a = whole;
    a.in[0] = *high - *low + 1, a.out[0] = count, a.data = data.data();
    a.part = {whole.in[0], whole.out[0], *low, first};
    Floats out(a.channels * count * out_plane);
    expect(cpu::resample(a, out.data(), parallel, isa), "part refused", isa.name, what);
    for (int64_t channel = 0; channel < a.channels; ++channel) {
      const float* expected = &values[(channel * whole.out[0] + first) * out_plane];
      const float* found = &out[channel * count * out_plane];
      expect(std::equal(found, found + count * out_plane, expected), "part", isa.name, what);
    }
  }
}

void test(const cpu::Kernels& isa, const Case& c, bool half, int threads) {
  std::mt19937 rng(5);
  const Floats data = uniform(rng, c.channels * c.in[0] * c.in[1] * c.in[2], -1, 1);
  const ResamplingArgs a = args_of(c, half, data);
  Threads pool{threads};
  const cpu::Parallel parallel(run_on_threads, &pool, threads);
  const std::string what = text(c, half);
  const Doubles expected = reference(a);
  const Floats found = run_twice("resample", isa.name, what, expected.size(), [&](float* out) {
    expect(cpu::resample(a, out, parallel, isa), "finite data refused", isa.name, what);
  });
  expect_close("resample", isa.name, what, relative_error(found, expected, 1), half ? 5e-4 : 1e-6);
  if (half) {
    for (const float value : found) {
      const float ulp = std::ldexp(1.0f, std::ilogb(value == 0 ? 1 : value) - 10);
      if (std::fmod(value, ulp) != 0) expect(false, "float16", isa.name, what);
    }
  }
  test_labels<uint8_t>(isa, parallel, a, found, what);
  test_labels<uint16_t>(isa, parallel, a, found, what);
  if (a.order[0] < 3 && a.clip == Clip::kNone) test_parts(isa, parallel, a, found, what);
}

void test_not_finite(const cpu::Kernels& isa) {
  const Case c{2, {2, 5, 19}, {3, 6, 21}, {0, 3, 3}, Clip::kPlane};
  Threads pool{1};
  const cpu::Parallel parallel(run_on_threads, &pool, 1);
  for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    for (size_t place = 0; place < 380; ++place) {
      Floats data(380, 1), out(2 * 3 * 6 * 21);
      data[place] = wrong;
      expect(!cpu::resample(args_of(c, false, data), out.data(), parallel, isa), "not finite", isa.name,
             text(c, false));
    }
  }
}

void test_all(const cpu::Kernels& isa) {
  constexpr Clip kNone = Clip::kNone, kChannel = Clip::kChannel, kPlane = Clip::kPlane;
  const Case cases[] = {
      {1, {1, 1, 1}, {1, 1, 1}, {3, 3, 3}, kChannel},     {2, {1, 1, 1}, {3, 2, 5}, {3, 3, 3}, kChannel},
      {1, {2, 3, 4}, {5, 7, 9}, {3, 3, 3}, kChannel},     {3, {4, 2, 3}, {2, 1, 1}, {3, 3, 3}, kChannel},
      {2, {5, 6, 7}, {9, 6, 11}, {3, 3, 3}, kNone},       {1, {6, 7, 15}, {8, 9, 16}, {3, 3, 3}, kChannel},
      {2, {3, 17, 33}, {4, 31, 65}, {3, 3, 3}, kChannel}, {1, {20, 33, 70}, {13, 16, 48}, {3, 3, 3}, kChannel},
      {2, {4, 9, 17}, {7, 18, 34}, {0, 3, 3}, kPlane},    {2, {4, 9, 17}, {2, 18, 17}, {0, 3, 3}, kPlane},
      {3, {4, 9, 17}, {7, 18, 34}, {1, 1, 1}, kNone},     {5, {9, 16, 64}, {4, 16, 31}, {1, 1, 1}, kNone},
      {2, {3, 5, 1}, {6, 11, 19}, {1, 1, 1}, kNone},      {2, {7, 1, 40}, {5, 3, 39}, {0, 0, 0}, kNone},
      {2, {7, 5, 4}, {11, 5, 4}, {3, 0, 0}, kNone},       {2, {3, 40, 5}, {17, 21, 6}, {0, 1, 1}, kNone},
      {4, {3, 4, 5}, {3, 4, 5}, {1, 1, 1}, kNone},        {1, {2, 3, 2100}, {3, 2, 700}, {3, 3, 3}, kChannel},
  };
  int count = 0;
  for (const Case& c : cases) {
    for (const bool half : {false, true}) {
      test(isa, c, half, half ? 1 : 3);
      ++count;
    }
  }
  test_not_finite(isa);
  std::printf("%s: %d cases done\n", isa.name, count);
}

void expect_sentence(const char* sentence, const char* part) {
  expect(sentence && std::strstr(sentence, part), part, "library", sentence ? sentence : "not refused");
}

// The C interface: what it refuses, on how many threads ever it would have run.
void test_library() {
  const Floats data(2 * 3 * 4 * 5, 1);
  Floats out(2 * 6 * 7 * 8);
  const MsdkResampling good{2, {3, 4, 5}, {6, 7, 8}, {3, 3, 3}, MSDK_CLIP_CHANNEL, 0, 2, data.data(), 0, 0, 0, 0};
  for (const int threads : {1, 2, 9}) {
    MsdkResampling r = good;
    r.threads = threads;
    expect(msdk_resample(&r, out.data()) == nullptr, "a call", "library", std::to_string(threads));
  }
  MsdkResampling r = good;
  r.channels = 0, expect_sentence(msdk_resample(&r, out.data()), "no channel");
  r = good, r.threads = 0, expect_sentence(msdk_resample(&r, out.data()), "a thread");
  r = good, r.in[1] = 0, expect_sentence(msdk_resample(&r, out.data()), "a side");
  r = good, r.out[2] = int64_t{1} << 31, expect_sentence(msdk_resample(&r, out.data()), "a side");
  r = good, r.order[2] = 2, expect_sentence(msdk_resample(&r, out.data()), "an order");
  r = good, r.clip = 3, expect_sentence(msdk_resample(&r, out.data()), "clip is none");
  r = good, r.clip = MSDK_CLIP_PLANE, expect_sentence(msdk_resample(&r, out.data()), "clipping to planes");
  MsdkResampling part{2, {3, 4, 5}, {4, 7, 8}, {1, 1, 1}, MSDK_CLIP_NONE, 0, 2, data.data(), 6, 12, 1, 3};
  expect(msdk_resample(&part, out.data()) == nullptr, "a part", "library", "refused");
  r = part, r.first_out = 2, expect_sentence(msdk_resample(&r, out.data()), "lacks planes");
  r = part, r.first_out = 4, expect_sentence(msdk_resample(&r, out.data()), "lacks planes");
  r = part, r.first_in = 4, expect_sentence(msdk_resample(&r, out.data()), "reaches beyond");
  r = part, r.first_out = 9, expect_sentence(msdk_resample(&r, out.data()), "reaches beyond");
  r = part, r.first_in = -1, expect_sentence(msdk_resample(&r, out.data()), "reaches beyond");
  r = part, r.whole_out = 0, expect_sentence(msdk_resample(&r, out.data()), "a side");
  r = part, r.order[0] = 3, expect_sentence(msdk_resample(&r, out.data()), "a part needs");
  r = part, r.clip = MSDK_CLIP_CHANNEL, expect_sentence(msdk_resample(&r, out.data()), "a part needs");
  const int32_t values[] = {0, 1};
  expect_sentence(msdk_resample_to_labels(&good, values, 0, out.data(), 4), "a label has");
}

}  // namespace

int main() {
  for_each_kernel_set(test_all);
  test_library();
  std::printf("%s\n", failures ? "FAILED" : "passed");
  return failures ? 1 : 0;
}
