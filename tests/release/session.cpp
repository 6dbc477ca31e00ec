// Runs a model once in the ONNX Runtime of another platform, with the msdk ops, where there is no Python for it.
//
//   session ONNXRUNTIME OPS MODEL INPUT OUTPUT DIM...
//
// ONNXRUNTIME and OPS are shared libraries, INPUT and OUTPUT raw float32; the DIMs are the input's. Prints the kernels
// that the ops run on.

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace {

// A function of a shared library, which is loaded for it.
template <class Function>
Function function(const std::filesystem::path& library, const char* name) {
#ifdef _WIN32
  HMODULE handle = LoadLibraryW(library.c_str());
  void* found = handle ? reinterpret_cast<void*>(GetProcAddress(handle, name)) : nullptr;
#else
  void* handle = dlopen(library.c_str(), RTLD_NOW);
  void* found = handle ? dlsym(handle, name) : nullptr;
#endif
  if (!found) throw std::runtime_error("no " + std::string(name) + " in " + library.string());
  return reinterpret_cast<Function>(found);
}

std::vector<float> read(const std::filesystem::path& file) {
  std::vector<float> values(std::filesystem::file_size(file) / sizeof(float));
  std::ifstream(file, std::ios::binary)
      .read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

void run(int count, char** words) {
  if (count < 7) throw std::runtime_error("usage: session ONNXRUNTIME OPS MODEL INPUT OUTPUT DIM...");
  std::vector<int64_t> dims;
  for (int i = 6; i < count; ++i) dims.push_back(std::stoll(words[i]));
  const OrtApi* api = function<const OrtApiBase* (*)()>(words[1], "OrtGetApiBase")()->GetApi(ORT_API_VERSION);
  if (!api) throw std::runtime_error("this ONNX Runtime is older than the headers");
  Ort::InitApi(api);

  const Ort::Env env;
  Ort::SessionOptions options;
  options.AddConfigEntry("msdk.cpu_ops", "1");
  options.RegisterCustomOpsLibrary(std::filesystem::path(words[2]).c_str());
  Ort::Session session(env, std::filesystem::path(words[3]).c_str(), options);

  std::vector<float> values = read(words[4]);
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const Ort::Value input =
      Ort::Value::CreateTensor<float>(memory, values.data(), values.size(), dims.data(), dims.size());
  Ort::AllocatorWithDefaultOptions allocator;
  const auto name = session.GetInputNameAllocated(0, allocator);
  const auto result = session.GetOutputNameAllocated(0, allocator);
  const char *names[] = {name.get()}, *results[] = {result.get()};
  const auto found = session.Run(Ort::RunOptions{}, names, &input, 1, results, 1);
  const size_t size = found[0].GetTensorTypeAndShapeInfo().GetElementCount() * sizeof(float);
  std::ofstream(std::filesystem::path(words[5]), std::ios::binary)
      .write(reinterpret_cast<const char*>(found[0].GetTensorData<float>()), static_cast<std::streamsize>(size));
  std::printf("%s\n", function<const char* (*)()>(words[2], "msdk_cpu_kernels")());
}

}  // namespace

int main(int count, char** words) {
  try {
    run(count, words);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
