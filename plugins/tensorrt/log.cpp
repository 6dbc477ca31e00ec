#include "tensorrt/log.h"

#include <atomic>
#include <cstdio>

namespace msdk::tensorrt {
namespace {

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

}  // namespace

void fail(const std::string& sentence) { throw PluginError(sentence); }

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept { logger_finder = finder; }

void report(const char* op, const char* sentence) noexcept {
  char message[1024];
  std::snprintf(message, sizeof(message), "msdk::%s: %s", op, sentence);
  nvinfer1::ILogger* logger = nullptr;
  try {
    if (nvinfer1::ILoggerFinder* finder = logger_finder) logger = finder->findLogger();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "msdk: the logger was not found: %s\n", error.what());
  }
  if (logger) {
    logger->log(nvinfer1::ILogger::Severity::kERROR, message);
  } else {
    std::fprintf(stderr, "%s\n", message);
  }
}

}  // namespace msdk::tensorrt
