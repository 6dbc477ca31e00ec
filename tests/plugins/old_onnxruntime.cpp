// Stands between ONNX Runtime and the msdk library (MSDK_LIBRARY) and hands it the function table of API 18: of a newer
// table the first kFunctions entries, and after them one that aborts. Entries are only ever appended from one API to
// the next; AddExternalInitializersFromFilesInMemory is the last of 18.
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

constexpr int kFunctions = 280, kRoom = 2048;

struct ApiBase {
  const void* (*get_api)(uint32_t version);
  const char* (*get_version)();
};

using Function = void (*)();
Function table[kRoom];
const ApiBase* real;

void missing() {
  std::fprintf(stderr, "a function was called that API 18 does not have\n");
  std::abort();
}

const void* old_api(uint32_t version) {
  const auto* api = static_cast<const Function*>(real->get_api(version));
  if (!api || version > 18) return nullptr;
  std::fill(std::copy_n(api, kFunctions, table), table + kRoom, missing);
  return table;
}

}  // namespace

extern "C" void* RegisterCustomOps(void* options, const ApiBase* base) {
  real = base;
  static const ApiBase old{old_api, base->get_version};
  void* library = dlopen(std::getenv("MSDK_LIBRARY"), RTLD_NOW);
  const auto register_ops = reinterpret_cast<void* (*)(void*, const ApiBase*)>(dlsym(library, "RegisterCustomOps"));
  return register_ops(options, &old);
}
