// The two symbols that TensorRT's plugin registry looks for in a library that it loads.
//
// Nothing here calls the registry: its C++ interface differs between TensorRT releases, the plugins' does not.

#include <iterator>

#include "tensorrt/log.h"

namespace msdk::tensorrt {

// In the ops' tensorrt.cpp; each creator lives as long as the library.
nvinfer1::IPluginCreatorInterface* directional_conv1d_creator();
nvinfer1::IPluginCreatorInterface* kan_linear_creator();
nvinfer1::IPluginCreatorInterface* selective_scan_creator();

}  // namespace msdk::tensorrt

extern "C" __attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
  msdk::tensorrt::set_logger_finder(finder);
}

extern "C" __attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(
    int32_t& count) {
  using Creators = nvinfer1::IPluginCreatorInterface* const*;
  count = 0;
  return msdk::tensorrt::guarded("getCreators", Creators{nullptr}, [&]() -> Creators {
    static nvinfer1::IPluginCreatorInterface* const creators[] = {msdk::tensorrt::directional_conv1d_creator(),
                                                                  msdk::tensorrt::selective_scan_creator(),
                                                                  msdk::tensorrt::kan_linear_creator()};
    count = static_cast<int32_t>(std::size(creators));
    return creators;
  });
}
