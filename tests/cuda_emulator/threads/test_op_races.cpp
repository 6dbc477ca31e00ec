// Every CUDA kernel of the ops on the emulator under ThreadSanitizer: a race between its threads ends the program. What
// they compute is for other tests to judge.

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "emulator.h"
#include "ops/directional_conv1d/cuda.h"
#include "ops/directions.h"
#include "ops/instance_norm/cuda.h"
#include "ops/kan_linear/cuda.h"
#include "ops/selective_scan/cuda.h"
#include "ops/token_norm/cuda.h"

// ThreadSanitizer asks the program for its options by this name: the first race ends it.
extern "C" const char* __tsan_default_options() { return "halt_on_error=1:exitcode=66"; }

namespace {

using namespace msdk;

int launches = 0;

void enqueued(const char* refused) {
  ++launches;
  if (!refused) return;
  std::printf("FAILED: refused: %s\n", refused);
  std::exit(1);
}

DirectionList directions_of(const char* text) {
  DirectionList directions;
  if (!parse_directions(text, directions).empty()) std::abort();
  return directions;
}

std::vector<float> values(int64_t count, float x = 0.25f) { return std::vector<float>(static_cast<size_t>(count), x); }

// Memory of a launch, aligned as CUDA's is.
struct alignas(256) Line {
  unsigned char bytes[256];
};

template <class T>
std::vector<Line> lines(int64_t count) {
  return std::vector<Line>(static_cast<size_t>(count) * sizeof(T) / sizeof(Line) + 1);
}
template <class T>
T* start(std::vector<Line>& memory) {
  return reinterpret_cast<T*>(memory.data());
}

template <class T>
void scan(int64_t channels, int64_t length, int states, int rank, const char* directions) {
  SelectiveScanArgs<T> args{};
  args.batch = 1, args.channels = channels, args.length = length, args.states = states, args.dt_rank = rank;
  args.directions = directions_of(directions), args.scale = 0.5f;
  const int64_t K = args.directions.count, rows = K * channels;
  auto u = lines<T>(rows * length), x_dbl = lines<T>(K * (rank + 2 * states) * length);
  auto z = lines<T>(channels * length), y = lines<T>(channels * length);
  const auto weight = values(rows * rank), bias = values(rows), skip = values(rows);
  const auto A = values(rows * states, -1.0f);
  args.u = start<T>(u), args.x_dbl = start<T>(x_dbl), args.z = start<T>(z), args.y = start<T>(y);
  args.dt_weight = weight.data(), args.dt_bias = bias.data(), args.A = A.data(), args.D_skip = skip.data();
  auto workspace = lines<unsigned char>(static_cast<int64_t>(cuda::selective_scan_workspace(args)));
  enqueued(cuda::selective_scan(args, workspace.data(), nullptr));
}

template <class T>
void convolution(int64_t length, const char* directions) {
  DirectionalConv1dArgs<T> args{};
  args.batch = 1, args.channels = 1, args.length = length, args.width = 4;
  args.directions = directions_of(directions);
  const int64_t K = args.directions.count;
  auto x = lines<T>(length), u = lines<T>(K * length);
  const auto weight = values(K * args.width), bias = values(K);
  args.x = start<T>(x), args.weight = weight.data(), args.bias = bias.data(), args.u = start<T>(u);
  enqueued(cuda::directional_conv1d(args, nullptr));
}

template <class T>
void kan() {
  constexpr int64_t kIn = 9, kOut = 5, kLength = 20;
  constexpr int kBases = 8;
  auto x = lines<T>(kIn * kLength), y = lines<T>(kOut * kLength);
  const auto base = values(kOut * kIn), spline = values(kOut * kIn * kBases);
  enqueued(cuda::kan_linear(KanLinearArgs<T>{1, kIn, kOut, kLength, kBases, -1.0f, 1.0f, start<T>(x), base.data(),
                                             spline.data(), start<T>(y)},
                            nullptr));
}

template <class T>
void norms() {
  const auto weight = values(11), bias = values(11);
  {
    auto x = lines<T>(11 * 45), y = lines<T>(11 * 45);
    enqueued(cuda::token_norm(TokenNormArgs<T>{1, 11, 45, 1e-5f, start<T>(x), weight.data(), bias.data(), start<T>(y)},
                              nullptr));
  }
  for (const int64_t voxels : {105, 4624}) {  // a map in one block, and in two
    auto x = lines<T>(voxels), y = lines<T>(voxels), addend = lines<T>(voxels);
    const InstanceNormArgs<T> args{1,          1,           voxels,        1e-5f,       Activation::kLeakyRelu,
                                   0.01f,      start<T>(x), weight.data(), bias.data(), start<T>(addend),
                                   start<T>(y)};
    auto workspace = lines<unsigned char>(static_cast<int64_t>(cuda::instance_norm_workspace(args)));
    enqueued(cuda::instance_norm(args, workspace.data(), nullptr));
  }
}

template <class T>
void every_kernel() {
  scan<T>(2, 150, 17, 9, "forward,slices:3");
  scan<T>(2, 150, 16, 3, "forward,slices:3,backward");
  scan<T>(2, 150, 8, 3, "forward,backward");
  for (const int rank : {3, 6, 8}) scan<T>(4, 144, 16, rank, "forward,backward");  // of neighbours
  convolution<T>(70, "forward,slices:7");
  convolution<T>(72, "forward,backward");
  kan<T>();
  norms<T>();
}

}  // namespace

int main() {
  cuda_emulator::run_shuffled(1);
  every_kernel<float>();
  every_kernel<Half>();
  std::printf("%d calls, passed\n", launches);
  return 0;
}
