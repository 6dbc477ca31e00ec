// Every failure becomes one sentence in the logger of the plugin's caller: no exception may cross into
// TensorRT.
#pragma once

#include <NvInferRuntime.h>

#include <exception>
#include <stdexcept>
#include <string>

namespace msdk::tensorrt {

// A sentence with what was expected and what was found.
class PluginError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

[[noreturn]] void fail(const std::string& sentence);

// Where to look for a logger from now on; null: standard error.
void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

// "msdk::<op>: <sentence>", cut at 1023 characters.
void report(const char* op, const char* sentence) noexcept;

// f(), or what `refused` is after a report of what f has thrown.
template <class Result, class F>
Result guarded(const char* op, Result refused, F&& f) noexcept {
  try {
    return f();
  } catch (const std::exception& error) {
    report(op, error.what());
  } catch (...) {
    report(op, "an error of unknown type");
  }
  return refused;
}

}  // namespace msdk::tensorrt
