#include "launch.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>

namespace ptx_machine {
namespace {

constexpr uint32_t kMostThreads = 1024, kMostSharedBytes = 48 << 10, kMostGridY = 65535;

std::string fault_sentence;
uint32_t blocks_run = 0;

struct Registered {
  const void* library;  // which registered it: two libraries may hold kernels of one name
  std::string symbol;
};

std::map<std::pair<const void*, std::string>, const Kernel*>& translated() {
  static std::map<std::pair<const void*, std::string>, const Kernel*> kernels;
  return kernels;
}

std::map<const void*, Registered>& registered() {
  static std::map<const void*, Registered> functions;
  return functions;
}

const void* library_of(const void* address) {
  Dl_info info{};
  return dladdr(address, &info) ? info.dli_fbase : nullptr;
}

// The order of threads is random, and its seed is told: PTX_MACHINE_SEED repeats a run.
std::mt19937_64& random_numbers() {
  static std::mt19937_64 random = [] {
    const char* given = std::getenv("PTX_MACHINE_SEED");
    const uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device()();
    std::fprintf(stderr, "PTX machine: threads run in random order, PTX_MACHINE_SEED=%llu repeats it\n",
                 static_cast<unsigned long long>(seed));
    return std::mt19937_64(seed);
  }();
  return random;
}

uint64_t shared_bytes_of(const Kernel& kernel, size_t dynamic_bytes) {
  uint64_t total = 0;
  for (uint32_t i = 0; i < kernel.shared_count; ++i) {
    const SharedVariable& variable = kernel.shared[i];
    if (!variable.dynamic) total = (total + variable.alignment - 1) / variable.alignment * variable.alignment;
    if (!variable.dynamic) total += variable.bytes;
  }
  return total + dynamic_bytes;
}

}  // namespace

bool add_module(const Kernel* const* kernels, size_t count) {
  const void* const library = library_of(kernels);
  for (size_t i = 0; i < count; ++i) translated()[{library, kernels[i]->symbol}] = kernels[i];
  return true;
}

void register_kernel(const void* host_function, const char* symbol) {
  registered()[host_function] = {library_of(host_function), symbol};
}

bool is_kernel(const void* host_function) { return registered().count(host_function) != 0; }

cudaError_t prepare(const void* host_function, Index grid, Index block, void** arguments, size_t dynamic_bytes,
                    Launch& launch) {
  const auto function = registered().find(host_function);
  if (function == registered().end()) return cudaErrorInvalidDeviceFunction;
  const auto found = translated().find({function->second.library, function->second.symbol});
  if (found == translated().end()) return cudaErrorInvalidDeviceFunction;
  const Kernel& kernel = *found->second;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMostThreads || block.z > 64) return cudaErrorInvalidConfiguration;
  if (grid.x == 0 || grid.x > INT32_MAX || grid.y == 0 || grid.y > kMostGridY || grid.z == 0 || grid.z > kMostGridY)
    return cudaErrorInvalidConfiguration;
  if (threads > kernel.most_threads) return cudaErrorLaunchOutOfResources;
  if (shared_bytes_of(kernel, dynamic_bytes) > kMostSharedBytes) return cudaErrorInvalidValue;
  launch = {&kernel, grid, block, static_cast<uint32_t>(dynamic_bytes), std::vector<uint8_t>(kernel.parameter_bytes),
            0};
  for (uint32_t i = 0; i < kernel.parameter_count; ++i) {
    const Parameter& parameter = kernel.parameters[i];
    std::memcpy(launch.parameters.data() + parameter.offset, arguments[i], parameter.bytes);
  }
  return cudaSuccess;
}

cudaError_t run(Launch& launch) {
  std::mt19937_64& random = random_numbers();
  const uint64_t count = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  std::vector<uint64_t> order(count);
  std::iota(order.begin(), order.end(), uint64_t{0});
  std::shuffle(order.begin(), order.end(), random);
  SharedMemory shared;
  shared.begin_launch(launch);
  launch.first_run = blocks_run + 1;
  try {
    for (const uint64_t number : order) run_block(launch, number, ++blocks_run, shared, random);
  } catch (const Fault& fault) {
    fault_sentence = fault.what();
    return cudaErrorLaunchFailure;
  }
  return cudaSuccess;
}

const std::string& last_fault() { return fault_sentence; }

}  // namespace ptx_machine
