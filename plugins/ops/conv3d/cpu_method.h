// Which kernel a convolution takes on the CPU, and how its weights lie for it.
#pragma once

#include "cpu/kernels.h"
#include "ops/conv3d/args.h"
#include "ops/token_linear/args.h"

namespace msdk::cpu {

// `tile` is T, the voxels of y that Winograd's kernels give at once along depth and along
// height from `side` points, or 0: tap by tap. is_cube: along width too, else tap by tap there.
struct Conv3dMethod {
  int tile = 0, side = 0;
  bool is_cube = false;
  int points_of_tile = 0;  // of a cube: at a point along depth
  int outputs;             // of a block
  int64_t blocks, block_floats;
  const Conv3dKernel* kernel;
  const double (*points)[3] = nullptr;  // of weights along an axis

  Conv3dMethod(const Conv3dArgs& a, const Kernels& isa);

  // Rows of weights along width: points, or taps.
  int taps_of_width() const { return is_cube ? side : 3; }
  // Lanes of a row of tiles, with the padding between it and the next.
  int64_t lanes_of_row(const Conv3dArgs& a) const { return is_cube ? (a.out[2] + tile - 1) / tile : a.out[2] + 1; }
};

// Whether a convolution is of single voxels: a product with the channels of each.
bool is_linear(const Conv3dArgs& args);
TokenLinearArgs as_linear(const Conv3dArgs& args);

}  // namespace msdk::cpu
