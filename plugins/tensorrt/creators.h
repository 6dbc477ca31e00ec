// The creators of the msdk plugins; each lives as long as the library.
#pragma once

#include <NvInferRuntime.h>

namespace msdk::tensorrt {

nvinfer1::IPluginCreatorInterface* directional_conv1d_creator();
nvinfer1::IPluginCreatorInterface* selective_scan_creator();
nvinfer1::IPluginCreatorInterface* kan_linear_creator();

}  // namespace msdk::tensorrt
