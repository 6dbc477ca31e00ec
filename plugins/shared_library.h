// Marks what a shared library offers to those who load it; the rest is hidden.
#pragma once

#ifdef _WIN32
#define MSDK_EXPORT __declspec(dllexport)
#else
#define MSDK_EXPORT __attribute__((visibility("default")))
#endif
