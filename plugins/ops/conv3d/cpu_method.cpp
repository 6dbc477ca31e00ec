#include "ops/conv3d/cpu_method.h"

namespace msdk::cpu {
namespace {

// Pairs of channels up to which weights may take eight, four and, with stride 2, 2.8 times their memory: beyond, they,
// not x, are what is read.
constexpr int64_t kMostPairsOfCubes = 128 * 256, kMostPairs = 256 * 256, kMostPairsStrided = 320 * 320;
// With fewer, transforms are what takes time: a third axis of them rounds more for nothing, and all of them take longer
// than the products of one channel.
constexpr int64_t kLeastChannelsOfCubes = 16, kLeastChannels = 2;

// Three taps at the points of F(T, 3): values of the polynomial with these coefficients, each over the product of its
// point's distances from the others; the last point is infinity.
constexpr double kPoints2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
constexpr double kNear = kWinogradNear, kFar = kWinogradFar, kNear2 = kNear * kNear, kFar2 = kFar * kFar;
constexpr double kOfNear = 1 / (2 * kNear2 * (kNear2 - kFar2)), kOfFar = 1 / (2 * kFar2 * (kFar2 - kNear2));
constexpr double kPoints4[6][3] = {{1 / (kNear2 * kFar2), 0, 0},
                                   {kOfNear, kNear * kOfNear, kNear2 * kOfNear},
                                   {kOfNear, -kNear * kOfNear, kNear2 * kOfNear},
                                   {kOfFar, kFar * kOfFar, kFar2 * kOfFar},
                                   {kOfFar, -kFar * kOfFar, kFar2 * kOfFar},
                                   {0, 0, 1}};
// With stride 2: the outer taps at the points 0, 1 and infinity, the middle one for each of two voxels of y.
constexpr double kPointsStrided[5][3] = {{1, 0, 0}, {1, 0, 1}, {0, 0, 1}, {0, 1, 0}, {0, 1, 0}};
// The outer taps at the points of F(4, 2), +-near, +-far and infinity; the middle one, for each of four voxels of y.
constexpr double kStridedNear2 = kStridedNear * kStridedNear, kStridedFar2 = kStridedFar * kStridedFar;
constexpr double kOfStridedNear = 1 / (2 * kStridedNear * (kStridedNear2 - kStridedFar2));
constexpr double kOfStridedFar = 1 / (2 * kStridedFar * (kStridedFar2 - kStridedNear2));
constexpr double kPointsStrided4[6][3] = {{kOfStridedNear, 0, kStridedNear * kOfStridedNear},
                                          {-kOfStridedNear, 0, kStridedNear * kOfStridedNear},
                                          {kOfStridedFar, 0, kStridedFar * kOfStridedFar},
                                          {-kOfStridedFar, 0, kStridedFar * kOfStridedFar},
                                          {0, 0, 1},
                                          {0, 1, 0}};

bool all_are(const int64_t (&sides)[3], int64_t value) {
  return sides[0] == value && sides[1] == value && sides[2] == value;
}

}  // namespace

Conv3dMethod::Conv3dMethod(const Conv3dArgs& a, const Kernels& isa) {
  const bool same = all_are(a.kernel, 3) && all_are(a.before, 1) && all_are(a.after, 1) && a.groups == 1 &&
                    a.in_channels >= kLeastChannels;
  const int64_t pairs = a.in_channels * a.out_channels;
  const bool few = pairs <= kMostPairs;
  if (same && all_are(a.stride, 1) && pairs <= kMostPairsOfCubes && a.in_channels >= kLeastChannelsOfCubes) {
    is_cube = true, tile = 4, side = kCubeWeights, points_of_tile = 6 * 6;
    kernel = &isa.conv3d.winograd_cube;
    points = kPoints4;
  } else if (same && all_are(a.stride, 1)) {
    tile = few ? 4 : 2, side = tile + 2;
    kernel = few ? &isa.conv3d.winograd_4 : &isa.conv3d.winograd_2;
    points = few ? kPoints4 : kPoints2;
  } else if (same && all_are(a.stride, 2) && pairs <= kMostPairsOfCubes) {
    is_cube = true, tile = 4, side = kCubeWeights, points_of_tile = 9 * 9;
    kernel = &isa.conv3d.strided_cube;
    points = kPointsStrided4;
  } else if (same && all_are(a.stride, 2) && pairs <= kMostPairsStrided) {
    tile = 2, side = 5;
    kernel = &isa.conv3d.winograd_strided;
    points = kPointsStrided;
  } else {
    kernel = &isa.conv3d.direct;
  }
  outputs = a.out_channels == a.groups && tile == 0 ? 1 : isa.conv3d.outputs;
  blocks = a.groups * ((a.out_channels / a.groups + outputs - 1) / outputs);
  const int64_t taps = tile ? side * side * taps_of_width() : a.kernel[0] * a.kernel[1] * a.kernel[2];
  block_floats = a.in_channels / a.groups * taps * outputs;
}

bool is_linear(const Conv3dArgs& a) {
  return all_are(a.kernel, 1) && all_are(a.stride, 1) && all_are(a.before, 0) && all_are(a.after, 0) && a.groups == 1;
}

TokenLinearArgs as_linear(const Conv3dArgs& a) {
  const int64_t voxels = a.in[0] * a.in[1] * a.in[2];
  return {a.batch, 1, a.in_channels, a.out_channels, voxels, a.x, a.weight, a.bias, nullptr, a.y, a.norm};
}

}  // namespace msdk::cpu
