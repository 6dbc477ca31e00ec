// A CUDA runtime whose device is the PTX machine: as much of libcudart as the host objects under test call. Streams
// run at once, but for the legacy stream's uploads and fills, which are as late as CUDA allows. While a stream is
// captured, its launches are kept for the graph, and what CUDA forbids is refused.
#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "device_memory.h"
#include "launch.h"

#define CUDART extern "C" PTX_MACHINE_API

using ptx_machine::Index;
using ptx_machine::Launch;

struct CUgraph_st {
  std::vector<Launch> launches;
};
struct CUgraphExec_st : CUgraph_st {};
struct CUevent_st {
  std::chrono::steady_clock::time_point time;
};

namespace {

struct Capture {
  cudaStream_t stream;
  CUgraph_st* graph;
  bool broken;
};

// What the legacy stream still has to do. Streams made with cudaStreamNonBlocking do not wait for it.
std::vector<std::function<void()>> legacy_stream;

void finish_legacy_stream() {
  for (const auto& work : legacy_stream) work();
  legacy_stream.clear();
}

Capture capture{};  // one at a time, in cudaStreamCaptureModeGlobal
cudaError_t last_error = cudaSuccess;

cudaError_t noted(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

// What may not be called while a stream is captured breaks the capture.
cudaError_t outside_of_captures() {
  if (!capture.graph) return cudaSuccess;
  capture.broken = true;
  return noted(cudaErrorStreamCaptureUnsupported);
}

cudaError_t enqueue(const void* function, dim3 grid, dim3 block, void** arguments, size_t bytes, cudaStream_t stream) {
  Launch launch;
  const auto error = ptx_machine::prepare(function, Index{grid.x, grid.y, grid.z}, Index{block.x, block.y, block.z},
                                          arguments, bytes, launch);
  if (error != cudaSuccess) return noted(error);
  if (!capture.graph) {
    if (!stream) finish_legacy_stream();
    return noted(ptx_machine::run(launch));
  }
  if (stream != capture.stream) return outside_of_captures();
  capture.graph->launches.push_back(std::move(launch));
  return cudaSuccess;
}

// Copies go between the host's memory and allocations of the machine.
cudaError_t check_device_side(const void* pointer, size_t bytes) {
  return bytes == 0 || ptx_machine::is_allocated(pointer, bytes) ? cudaSuccess : noted(cudaErrorInvalidValue);
}

}  // namespace

CUDART void** __cudaRegisterFatBinary(void* binary) { return static_cast<void**>(binary); }
CUDART void __cudaRegisterFatBinaryEnd(void**) {}
CUDART void __cudaUnregisterFatBinary(void**) {}
CUDART void __cudaRegisterFunction(void**, const char* host_function, char*, const char* symbol, int, uint3*, uint3*,
                                   dim3*, dim3*, int*) {
  ptx_machine::register_kernel(host_function, symbol);
}

// It has no cache that shared memory is taken from: what is asked for must only make sense.
CUDART cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  if (!ptx_machine::is_kernel(function)) return noted(cudaErrorInvalidDeviceFunction);
  if (attribute != cudaFuncAttributePreferredSharedMemoryCarveout) return noted(cudaErrorNotSupported);
  return value >= 0 && value <= 100 ? cudaSuccess : noted(cudaErrorInvalidValue);
}

CUDART cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  if (config->numAttrs != 0) return noted(cudaErrorNotSupported);
  return enqueue(function, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes, config->stream);
}

// A kernel<<<...>>> and a host call of a kernel's own stub come here.
namespace {
struct Configuration {
  dim3 grid, block;
  size_t bytes;
  void* stream;
};
thread_local std::vector<Configuration> configurations;
}  // namespace
CUDART unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t bytes, CUstream_st* stream) {
  configurations.push_back({grid, block, bytes, stream});
  return 0;
}
CUDART cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* bytes, void* stream) {
  const Configuration configuration = configurations.back();
  configurations.pop_back();
  *grid = configuration.grid;
  *block = configuration.block;
  *bytes = configuration.bytes;
  *static_cast<void**>(stream) = configuration.stream;
  return cudaSuccess;
}
CUDART cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
CUDART cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t bytes,
                                      cudaStream_t stream) {
  return enqueue(kernel, grid, block, arguments, bytes, stream);
}

CUDART cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
CUDART const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorLaunchFailure:
      return ptx_machine::last_fault().c_str();
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidDeviceFunction:
      return "no PTX was translated for this kernel";
    case cudaErrorLaunchOutOfResources:
      return "too many threads for the kernel's launch bounds";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorNotSupported:
      return "not supported by the PTX machine";
    default:
      return "invalid argument";
  }
}

CUDART cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  if (const cudaError_t error = outside_of_captures()) return error;
  *pointer = ptx_machine::allocate(bytes);
  return *pointer ? cudaSuccess : noted(cudaErrorMemoryAllocation);
}
CUDART cudaError_t cudaFree(void* pointer) {
  if (const cudaError_t error = outside_of_captures()) return error;
  finish_legacy_stream();
  return !pointer || ptx_machine::release(pointer) ? cudaSuccess : noted(cudaErrorInvalidValue);
}
CUDART cudaError_t cudaMemset(void* to, int byte, size_t bytes) {
  if (const cudaError_t error = outside_of_captures()) return error;
  if (const cudaError_t error = check_device_side(to, bytes)) return error;
  legacy_stream.push_back([=] { std::memset(to, byte, bytes); });
  return cudaSuccess;
}
CUDART cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (const cudaError_t error = outside_of_captures()) return error;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  if (from_device)
    if (const cudaError_t error = check_device_side(from, bytes)) return error;
  if (to_device)
    if (const cudaError_t error = check_device_side(to, bytes)) return error;
  if (kind == cudaMemcpyHostToDevice) {  // from pageable memory: it returns when its source has been read
    const char* begin = static_cast<const char*>(from);
    legacy_stream.push_back(
        [=, read = std::vector<char>(begin, begin + bytes)] { std::memcpy(to, read.data(), bytes); });
    return cudaSuccess;
  }
  finish_legacy_stream();
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
CUDART cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  *total = size_t{1} << 40;
  *available = *total - ptx_machine::allocated_bytes();
  return cudaSuccess;
}

CUDART cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t error = outside_of_captures()) return error;
  finish_legacy_stream();
  return cudaSuccess;
}
CUDART cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return stream ? outside_of_captures() : cudaDeviceSynchronize();
}
CUDART cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  static uintptr_t streams = 0;
  *stream = reinterpret_cast<cudaStream_t>(++streams * 256);
  return cudaSuccess;
}

CUDART cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (capture.graph || mode != cudaStreamCaptureModeGlobal) return noted(cudaErrorNotSupported);
  capture = {stream, new CUgraph_st, false};
  return cudaSuccess;
}
CUDART cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!capture.graph || stream != capture.stream) return noted(cudaErrorInvalidValue);
  const Capture ended = capture;
  capture = {};
  *graph = ended.graph;
  if (!ended.broken) return cudaSuccess;
  delete ended.graph;
  *graph = nullptr;
  return noted(cudaErrorStreamCaptureInvalidated);
}
CUDART cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* instance, cudaGraph_t graph, unsigned long long) {
  *instance = new CUgraphExec_st{*graph};
  return cudaSuccess;
}
CUDART cudaError_t cudaGraphLaunch(cudaGraphExec_t instance, cudaStream_t) {
  if (const cudaError_t error = outside_of_captures()) return error;
  for (Launch& launch : instance->launches)
    if (const cudaError_t error = ptx_machine::run(launch)) return noted(error);
  return cudaSuccess;
}

CUDART cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st{};
  return cudaSuccess;
}
CUDART cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->time = std::chrono::steady_clock::now();
  return cudaSuccess;
}
CUDART cudaError_t cudaEventSynchronize(cudaEvent_t) { return outside_of_captures(); }
CUDART cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t stop) {
  *milliseconds = std::chrono::duration<float, std::milli>(stop->time - start->time).count();
  return cudaSuccess;
}

CUDART cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
CUDART cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
CUDART cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "PTX machine, on a CPU");
  return cudaSuccess;
}
// It has neither a clock nor a bandwidth.
CUDART cudaError_t cudaDeviceGetAttribute(int*, cudaDeviceAttr, int) { return noted(cudaErrorNotSupported); }
