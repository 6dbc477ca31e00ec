// The CPU ops on a pool of threads, called from several threads at once as one session is. ThreadSanitizer looks at
// every access; the results must be those of one caller, bit for bit.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cpu/kernels.h"
#include "ops/average_pool3d/cpu.h"
#include "ops/conv3d/cpu.h"
#include "ops/conv_transpose3d/cpu.h"
#include "ops/directional_conv1d/cpu.h"
#include "ops/directions.h"
#include "ops/instance_norm/cpu.h"
#include "ops/kan_linear/cpu.h"
#include "ops/selective_scan/cpu.h"
#include "ops/token_linear/cpu.h"
#include "ops/token_norm/cpu.h"
#include "ops/trilinear_upsample/cpu.h"
#include "resampling/resampling.h"

using namespace msdk;

namespace {

// Threads that outlive a call, as those of ONNX Runtime's pool do; whoever calls takes part.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ~Pool() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  static void run(void* pool, cpu::Parallel::Body body, size_t total, void* data) {
    static_cast<Pool*>(pool)->run(std::make_shared<Job>(body, total, data));
  }

 private:
  struct Job {
    Job(cpu::Parallel::Body b, size_t t, void* d) : body(b), total(t), data(d) {}
    const cpu::Parallel::Body body;
    const size_t total;
    void* const data;
    std::atomic<size_t> next{0}, done{0};
  };

  void run(const std::shared_ptr<Job>& job) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      jobs_.push_back(job);
    }
    changed_.notify_all();
    take_part(*job);
    while (job->done.load(std::memory_order_acquire) < job->total) std::this_thread::yield();
  }

  static void take_part(Job& job) {
    for (size_t index; (index = job.next.fetch_add(1, std::memory_order_relaxed)) < job.total;) {
      job.body(job.data, index);
      job.done.fetch_add(1, std::memory_order_release);
    }
  }

  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return ended_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      const std::shared_ptr<Job> job = jobs_.front();
      jobs_.pop_front();
      lock.unlock();
      take_part(*job);
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Job>> jobs_;
  bool ended_ = false;
  std::vector<std::thread> workers_;
};

using Floats = std::vector<float>;

Floats uniform(int64_t count, float low, float high) {
  static std::mt19937 rng(31);
  std::uniform_real_distribution<float> draw(low, high);
  Floats values(static_cast<size_t>(count));
  for (float& value : values) value = draw(rng);
  return values;
}

// Inputs of the ops for the same sizes; for convolutions and upsampling tokens are a map of 3 x 4 columns.
struct Inputs {
  static constexpr int64_t kBatch = 2, kChannels = 19, kOutputs = 5;
  static constexpr int kStates = 9, kRank = 3, kWidth = 4, kBases = 8;
  const int64_t length;
  DirectionList list;
  Floats x, u, x_dbl, dt_weight, dt_bias, A, D_skip, conv_weight, conv_bias, base, spline, taps;

  Inputs(int64_t tokens, const char* directions) : length(tokens) {
    parse_directions(directions, list);
    const int64_t K = list.count;
    x = uniform(kBatch * kChannels * length, -2, 2), u = uniform(kBatch * K * kChannels * length, -2, 2);
    x_dbl = uniform(kBatch * K * (kRank + 2 * kStates) * length, -1, 1);
    dt_weight = uniform(K * kChannels * kRank, -1, 1), dt_bias = uniform(K * kChannels, -3, 1);
    A = uniform(K * kChannels * kStates, -4, -0.1f), D_skip = uniform(K * kChannels, -1, 1);
    conv_weight = uniform(K * kChannels * kWidth, -1, 1), conv_bias = uniform(K * kChannels, -1, 1);
    base = uniform(kOutputs * kChannels, -1, 1), spline = uniform(kOutputs * kChannels * kBases, -1, 1);
    taps = uniform(kChannels * kChannels * 27, -1, 1);
  }

  // All outputs of the ops, in sequence.
  Floats run(const cpu::Parallel& parallel, const cpu::Kernels& isa) const {
    Floats y(x.size()), v(u.size()), k(kBatch * kOutputs * length), w(8 * x.size());
    cpu::selective_scan({kBatch, kChannels, length, kStates, kRank, list, 0.5f, u.data(), x_dbl.data(),
                         dt_weight.data(), dt_bias.data(), A.data(), D_skip.data(), x.data(), y.data()},
                        parallel, isa);
    cpu::directional_conv1d(
        {kBatch, kChannels, length, kWidth, list, x.data(), conv_weight.data(), conv_bias.data(), v.data()}, parallel,
        isa);
    cpu::kan_linear(
        {kBatch, kChannels, kOutputs, length, kBases, -1, 1, x.data(), base.data(), spline.data(), k.data()}, parallel,
        isa);
    cpu::trilinear_upsample({kBatch, kChannels, {length / 12, 3, 4}, x.data(), nullptr, w.data()}, parallel, isa);
    for (const Floats* more : {&v, &k, &w}) y.insert(y.end(), more->begin(), more->end());
    cpu::average_pool3d({kBatch, kChannels, {length / 12, 3, 4}, {1, 1, 2}, x.data(), w.data()}, parallel, isa);
    y.insert(y.end(), w.begin(), w.begin() + x.size() / 2);
    cpu::token_norm({kBatch, kChannels, length, 1e-5f, x.data(), D_skip.data(), conv_bias.data(), w.data()}, parallel,
                    isa);
    y.insert(y.end(), w.begin(), w.begin() + x.size());
    const TokenLinearArgs linear{kBatch,   1,           kChannels, kChannels, length,
                                 x.data(), taps.data(), nullptr,   x.data(),  w.data()};
    cpu::token_linear(linear, cpu::pack_token_linear(linear, isa).data(), parallel, isa);
    y.insert(y.end(), w.begin(), w.begin() + x.size());
    cpu::instance_norm({kBatch, kChannels, length, 1e-5f, Activation::kRelu, 0.0f, x.data(), D_skip.data(),
                        conv_bias.data(), x.data(), w.data()},
                       parallel, isa);
    y.insert(y.end(), w.begin(), w.begin() + x.size());
    k.resize(4 * k.size());
    const ConvTranspose3dArgs transposed{
        kBatch,      kChannels,        kOutputs, 0,       {length / 12, 3, 4}, {2, 1, 2}, x.data(),
        taps.data(), conv_bias.data(), nullptr,  k.data()};
    cpu::conv_transpose3d(transposed, cpu::pack_conv_transpose3d(transposed, isa).data(), parallel, isa);
    y.insert(y.end(), k.begin(), k.end());
    const std::vector<Normalisation> norms(kBatch * kChannels, {0.1f, 1e-9f, 0.9f, 0.2f});
    std::vector<double> moments(2 * kBatch * kChannels);
    for (const int64_t groups : {int64_t{1}, kChannels}) {  // by Winograd and tap by tap
      const Conv3dArgs conv{kBatch,
                            kChannels,
                            kChannels,
                            groups,
                            {length / 12, 3, 4},
                            {length / 12, 3, 4},
                            {3, 3, 3},
                            {1, 1, 1},
                            {1, 1, 1},
                            {1, 1, 1},
                            x.data(),
                            taps.data(),
                            nullptr,
                            w.data(),
                            {groups == 1 ? norms.data() : nullptr, 0.01f},
                            moments.data()};
      cpu::conv3d(conv, cpu::pack_conv3d(conv, isa).data(), parallel, isa);
      y.insert(y.end(), w.begin(), w.begin() + x.size());
      y.insert(y.end(), moments.begin(), moments.end());
      cpu::instance_norm({kBatch, kChannels, length, 1e-5f, Activation::kRelu, 0.0f, x.data(), D_skip.data(),
                          conv_bias.data(), x.data(), w.data()},
                         parallel, isa);
      y.insert(y.end(), w.begin(), w.begin() + x.size());
    }
    return y;
  }
};

// The resampling library brings its own threads: a result for each of `callers` at once, and of `threads` threads each.
int differing_resamplings(int callers, int threads) {
  const Floats data = uniform(2 * 9 * 20 * 31, -1, 1);
  const auto resampled = [&](int on) {
    const MsdkResampling r{2, {9, 20, 31}, {14, 33, 40}, {3, 3, 3}, MSDK_CLIP_CHANNEL, 0, on, data.data(), 0, 0, 0, 0};
    Floats out(2 * 14 * 33 * 40);
    std::vector<uint8_t> labels(14 * 33 * 40);
    const int32_t values[] = {0, 1};
    if (msdk_resample(&r, out.data()) || msdk_resample_to_labels(&r, values, 0, labels.data(), 1)) return Floats();
    out.insert(out.end(), labels.begin(), labels.end());
    return out;
  };
  const Floats expected = resampled(1);
  std::atomic<int> differing{expected.empty()};
  std::vector<std::thread> all;
  for (int i = 0; i < callers; ++i) {
    all.emplace_back([&] { differing += resampled(threads) != expected; });
  }
  for (std::thread& caller : all) caller.join();
  std::printf("resampling, %d threads: %d results differ\n", threads, differing.load());
  return differing;
}

}  // namespace

int main() {
  constexpr int kCallers = 3, kCalls = 2;
  int failures = 0;
  const cpu::KernelSets sets = cpu::available_kernels();
  const Inputs shorter(240, "forward,backward,slices:3"), longer(2064, "backward,slices:6:backward,slices:6");
  for (const int threads : {2, 4}) {
    Pool pool(threads);
    for (const int said : {threads, 64}) {  // 64 cuts the tokens into chunks
      const cpu::Parallel parallel(Pool::run, &pool, said);
      for (int i = 0; i < sets.count; ++i) {
        const Floats expected[] = {shorter.run(parallel, *sets.items[i]), longer.run(parallel, *sets.items[i])};
        std::atomic<int> differing{0};
        std::vector<std::thread> callers;
        for (int caller = 0; caller < kCallers; ++caller) {
          callers.emplace_back([&, caller] {
            for (int call = caller; call < caller + kCalls; ++call) {
              const Inputs& inputs = call % 2 ? longer : shorter;
              differing += inputs.run(parallel, *sets.items[i]) != expected[call % 2];
            }
          });
        }
        for (std::thread& caller : callers) caller.join();
        std::printf("%s, %d threads, cut for %d: %d results differ\n", sets.items[i]->name, threads, said,
                    differing.load());
        failures += differing;
      }
    }
  }
  for (const int threads : {2, 4}) failures += differing_resamplings(kCallers, threads);
  return failures ? 1 : 0;
}
