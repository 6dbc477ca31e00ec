// Device memory and time for tests/gpu/device.py. Each call returns null or the sentence it failed with.
#include <cuda_runtime.h>

#include <cstdio>
#include <utility>

#define CHECK_API extern "C" __attribute__((visibility("default")))

namespace {

const char* sentence_of(cudaError_t error) { return error == cudaSuccess ? nullptr : cudaGetErrorString(error); }

}  // namespace

CHECK_API const char* check_allocate(void** pointer, size_t bytes) { return sentence_of(cudaMalloc(pointer, bytes)); }

CHECK_API const char* check_release(void* pointer) { return sentence_of(cudaFree(pointer)); }

// Both wait for the legacy stream: its fills, and uploads from pageable memory, may be under way when the call returns,
// and a stream of the checks, which is non-blocking, does not wait for it.
CHECK_API const char* check_fill(void* pointer, int byte, size_t bytes) {
  const cudaError_t error = cudaMemset(pointer, byte, bytes);
  return sentence_of(error == cudaSuccess ? cudaStreamSynchronize(nullptr) : error);
}

CHECK_API const char* check_upload(void* to, const void* from, size_t bytes) {
  const cudaError_t error = cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice);
  return sentence_of(error == cudaSuccess ? cudaStreamSynchronize(nullptr) : error);
}

CHECK_API const char* check_download(void* to, const void* from, size_t bytes) {
  return sentence_of(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
}

// Waits for all work, so that a kernel's own failure is reported here at the latest.
CHECK_API const char* check_synchronize() { return sentence_of(cudaDeviceSynchronize()); }

#ifndef MSDK_CUDA_EMULATOR

CHECK_API const char* check_describe(char* name, size_t size, int* driver, int* runtime) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, 0)) return sentence_of(error);
  std::snprintf(name, size, "%s, compute capability %d.%d, %d SMs, %.1f GB", properties.name, properties.major,
                properties.minor, properties.multiProcessorCount, static_cast<double>(properties.totalGlobalMem) / 1e9);
  if (const cudaError_t error = cudaDriverGetVersion(driver)) return sentence_of(error);
  return sentence_of(cudaRuntimeGetVersion(runtime));
}

// The SMs, their highest clock in Hz and the memory's bandwidth in bytes a second: two transfers a memory clock.
CHECK_API const char* check_rates(int* sms, double* clock, double* bandwidth) {
  int clock_khz, memory_khz, bus_bits;
  const std::pair<cudaDeviceAttr, int*> wanted[] = {{cudaDevAttrMultiProcessorCount, sms},
                                                    {cudaDevAttrClockRate, &clock_khz},
                                                    {cudaDevAttrMemoryClockRate, &memory_khz},
                                                    {cudaDevAttrGlobalMemoryBusWidth, &bus_bits}};
  for (const auto& [attribute, value] : wanted)
    if (const cudaError_t error = cudaDeviceGetAttribute(value, attribute, 0)) return sentence_of(error);
  *clock = 1e3 * clock_khz;
  *bandwidth = 2 * 1e3 * memory_khz * bus_bits / 8;
  return nullptr;
}

// Bytes of the device in use, by whichever process.
CHECK_API const char* check_used(size_t* used) {
  size_t available, total;
  if (const cudaError_t error = cudaMemGetInfo(&available, &total)) return sentence_of(error);
  *used = total - available;
  return nullptr;
}

CHECK_API const char* check_stream(cudaStream_t* stream) {
  return sentence_of(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking));
}

CHECK_API const char* check_event(cudaEvent_t* event) { return sentence_of(cudaEventCreate(event)); }

CHECK_API const char* check_record(cudaEvent_t event, cudaStream_t stream) {
  return sentence_of(cudaEventRecord(event, stream));
}

CHECK_API const char* check_elapsed(float* milliseconds, cudaEvent_t start, cudaEvent_t stop) {
  if (const cudaError_t error = cudaEventSynchronize(stop)) return sentence_of(error);
  return sentence_of(cudaEventElapsedTime(milliseconds, start, stop));
}

CHECK_API const char* check_capture(cudaStream_t stream) {
  return sentence_of(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
}

// Ends the capture and runs what was captured `times` times.
CHECK_API const char* check_replay(cudaStream_t stream, int times) {
  cudaGraph_t graph;
  if (const cudaError_t error = cudaStreamEndCapture(stream, &graph)) return sentence_of(error);
  cudaGraphExec_t replay;
  cudaError_t error = cudaGraphInstantiateWithFlags(&replay, graph, 0);
  for (int i = 0; i < times && error == cudaSuccess; ++i) error = cudaGraphLaunch(replay, stream);
  return sentence_of(error == cudaSuccess ? cudaStreamSynchronize(stream) : error);
}

#endif
