// A convolution's weights, packed once for the kernel that its method takes.

#include "ops/conv3d/cpu.h"
#include "ops/conv3d/cpu_method.h"
#include "ops/token_linear/cpu.h"

namespace msdk::cpu {
namespace {

// Taps along an axis without Winograd.
constexpr double kTaps[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};

// A pair of channels' weights at each point along depth, height and width: calls f(point of depth and height, of
// width, weight).
template <class F>
void at_points(const float* taps, const Conv3dMethod& method, F&& f) {
  double planes[3][3];  // (height, width)
  for (int depth = 0; depth < method.side; ++depth) {
    const double (&d)[3] = method.points[depth];
    for (int tap = 0; tap < 9; ++tap) {
      planes[tap / 3][tap % 3] = d[0] * taps[tap] + d[1] * taps[9 + tap] + d[2] * taps[18 + tap];
    }
    for (int height = 0; height < method.side; ++height) {
      const double (&h)[3] = method.points[height];
      double row[3];
      for (int tap = 0; tap < 3; ++tap)
        row[tap] = h[0] * planes[0][tap] + h[1] * planes[1][tap] + h[2] * planes[2][tap];
      for (int width = 0; width < method.taps_of_width(); ++width) {
        const double (&w)[3] = (method.is_cube ? method.points : kTaps)[width];
        f(depth * method.side + height, width, static_cast<float>(w[0] * row[0] + w[1] * row[1] + w[2] * row[2]));
      }
    }
  }
}

}  // namespace

// By Winograd: (block, points, in_channels, 3 taps along width, outputs of a block), or (block, points, in_channels,
// outputs of a block) along all axes. Tap by tap: (block, in_channels of a group, taps, outputs of a block). Outputs
// past a group's last are 0. Of single voxels: as pack_token_linear says.
std::vector<float> pack_conv3d(const Conv3dArgs& a, const Kernels& isa) {
  if (is_linear(a)) return pack_token_linear(as_linear(a), isa);
  const Conv3dMethod method(a, isa);
  const int64_t channels = a.in_channels / a.groups, taps = a.kernel[0] * a.kernel[1] * a.kernel[2];
  const int64_t outputs = a.out_channels / a.groups, of_block = method.outputs;
  const int64_t blocks_of_group = method.blocks / a.groups;
  std::vector<float> packed(static_cast<size_t>(method.blocks * method.block_floats));
  for (int64_t o = 0; o < a.out_channels; ++o) {
    const int64_t in_group = o % outputs, block = o / outputs * blocks_of_group + in_group / of_block;
    float* to = packed.data() + block * method.block_floats + in_group % of_block;
    for (int64_t c = 0; c < channels; ++c) {
      const float* from = a.weight + (o * channels + c) * taps;
      if (method.tile == 0) {
        for (int64_t tap = 0; tap < taps; ++tap) to[(c * taps + tap) * of_block] = from[tap];
        continue;
      }
      at_points(from, method, [&](int64_t point, int64_t width, float weight) {
        const int64_t row = method.is_cube ? (point * method.side + width) * channels + c
                                           : (point * channels + c) * method.taps_of_width() + width;
        to[row * of_block] = weight;
      });
    }
  }
  return packed;
}

}  // namespace msdk::cpu
