// The CPU kernels beyond 2^31 tokens and 2^32 bytes: single tasks at the far end of tensors in memory that is mapped
// but mostly never touched, against the same values in small tensors, bit for bit.

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cpu/kernels.h"

using namespace msdk;

namespace {

constexpr int64_t kTokens = (int64_t{1} << 31) + 384, kNear = 384, kFar = kTokens - kNear;
constexpr int64_t kChannels = 3;
int failures = 0;

// Rows of kTokens floats, zero until they are written.
class Rows {
 public:
  explicit Rows(int64_t count) : bytes_(static_cast<size_t>(count * kTokens) * sizeof(float)) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      std::perror("test_large: address space for a tensor");
      std::exit(1);
    }
    data_ = static_cast<float*>(memory);
  }
  ~Rows() { munmap(data_, bytes_); }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  float* data() const { return data_; }
  float* far(int64_t row) const { return data_ + row * kTokens + kFar; }

 private:
  size_t bytes_;
  float* data_;
};

using Floats = std::vector<float>;

Floats uniform(int64_t count, float low, float high) {
  static std::mt19937 rng(41);
  std::uniform_real_distribution<float> draw(low, high);
  Floats values(static_cast<size_t>(count));
  for (float& value : values) value = draw(rng);
  return values;
}

// Random rows of kNear tokens, and the same at the far end of large ones.
Floats put(const Rows& large, int64_t rows) {
  const Floats small = uniform(rows * kNear, -1, 1);
  for (int64_t row = 0; row < rows; ++row) std::memcpy(large.far(row), &small[row * kNear], kNear * sizeof(float));
  return small;
}

void expect_same(const std::string& what, const Floats& small, const Rows& large, int64_t rows) {
  for (int64_t row = 0; row < rows; ++row) {
    if (std::memcmp(&small[row * kNear], large.far(row), kNear * sizeof(float)) == 0) continue;
    std::printf("FAILED %s, row %lld\n", what.c_str(), static_cast<long long>(row));
    ++failures;
  }
}

// Zeros, aligned for any vector, as the kernels want their scratch memory and states.
struct Scratch {
  explicit Scratch(int64_t bytes) : data(std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64))) {
    std::memset(data, 0, static_cast<size_t>(bytes));
  }
  ~Scratch() { std::free(data); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* floats() const { return static_cast<float*>(data); }

  void* const data;
};

void test_scan(const cpu::Kernels& isa, bool backward) {
  constexpr int kStates = 5, kRank = 2, kMatrixRows = kRank + 2 * kStates;
  const Rows u(kChannels), x_dbl(kMatrixRows), z(kChannels), y(kChannels);
  const Floats near_u = put(u, kChannels), near_x_dbl = put(x_dbl, kMatrixRows), near_z = put(z, kChannels);
  const Floats dt_weight = uniform(kChannels * kRank, -1, 1), dt_bias = uniform(kChannels, -3, 1);
  const Floats A = uniform(kChannels * kStates, -4, -0.1f), D_skip = uniform(kChannels, -1, 1);
  Floats near_y(kChannels * kNear);
  SelectiveScanArgs<float> args{};
  args.batch = 1, args.channels = kChannels, args.states = kStates, args.dt_rank = kRank, args.scale = 1;
  args.directions.count = 1, args.directions.items[0].backward = backward;
  args.dt_weight = dt_weight.data(), args.dt_bias = dt_bias.data(), args.A = A.data(), args.D_skip = D_skip.data();
  const auto run = [&](int64_t length) {
    const Scratch scratch(isa.selective_scan.scratch(args, 1)), state(kStates * isa.lanes * int64_t{sizeof(float)});
    cpu::ScanTask task{};
    task.blocks = 1, task.begin = length - kNear, task.end = length;
    task.finish = true, task.state = state.floats();
    args.length = length;
    isa.selective_scan.scan(args, task, scratch.floats());
  };
  args.u = near_u.data(), args.x_dbl = near_x_dbl.data(), args.z = near_z.data(), args.y = near_y.data();
  run(kNear);
  args.u = u.data(), args.x_dbl = x_dbl.data(), args.z = z.data(), args.y = y.data();
  run(kTokens);
  expect_same(std::string("scan ") + (backward ? "backward " : "forward ") + isa.name, near_y, y, kChannels);
}

void test_kan(const cpu::Kernels& isa) {
  constexpr int kBases = 8, kOutputs = 2;
  const Rows x(kChannels), y(kOutputs);
  const Floats near_x = put(x, kChannels), base = uniform(kOutputs * kChannels, -1, 1);
  const Floats spline = uniform(kOutputs * kChannels * kBases, -1, 1);
  Floats near_y(kOutputs * kNear);
  const auto run = [&](int64_t length, const float* in, float* out) {
    const KanLinearArgs<float> args{1, kChannels, kOutputs, length, kBases, -1, 1, in, base.data(), spline.data(), out};
    const Scratch scratch(isa.kan_linear.scratch(args));
    for (int64_t i = length - kNear; i < length; i += cpu::kKanTokens)
      isa.kan_linear.tokens(args, 0, i, scratch.floats());
  };
  run(kNear, near_x.data(), near_y.data());
  run(kTokens, x.data(), y.data());
  expect_same(std::string("KAN ") + isa.name, near_y, y, kOutputs);
}

}  // namespace

int main() {
  const cpu::KernelSets sets = cpu::available_kernels();
  for (int i = 0; i < sets.count; ++i) {
    test_scan(*sets.items[i], false);
    test_scan(*sets.items[i], true);
    test_kan(*sets.items[i]);
  }
  std::printf("%s\n", failures ? "FAILED" : "passed");
  return failures ? 1 : 0;
}
