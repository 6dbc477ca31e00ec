# Cross-compiles with Zig's C++ compiler (the PyPI package ziglang): Clang with the C libraries of every platform.
#
#   cmake -S plugins -B build --toolchain plugins/cmake/toolchains/zig.cmake -DMSDK_ZIG_TARGET=aarch64-linux-gnu.2.28

set(MSDK_ZIG "zig" CACHE STRING "Zig's executable")
set(MSDK_ZIG_TARGET "" CACHE STRING "What to compile for, in Zig's words: x86_64-linux-gnu.2.17, aarch64-macos, ...")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES MSDK_ZIG MSDK_ZIG_TARGET)

string(REGEX MATCH "^([a-z0-9_]+)-([a-z]+)" _ "${MSDK_ZIG_TARGET}")
set(CMAKE_SYSTEM_PROCESSOR ${CMAKE_MATCH_1})
if(CMAKE_MATCH_2 STREQUAL "linux")
  set(CMAKE_SYSTEM_NAME Linux)
elseif(CMAKE_MATCH_2 STREQUAL "macos")
  set(CMAKE_SYSTEM_NAME Darwin)
elseif(CMAKE_MATCH_2 STREQUAL "windows")
  set(CMAKE_SYSTEM_NAME Windows)
else()
  message(FATAL_ERROR "MSDK_ZIG_TARGET: expected <processor>-<linux|macos|windows>.., got '${MSDK_ZIG_TARGET}'")
endif()

set(CMAKE_CXX_COMPILER ${MSDK_ZIG} c++ -target ${MSDK_ZIG_TARGET})
set(CMAKE_C_COMPILER ${MSDK_ZIG} cc -target ${MSDK_ZIG_TARGET})
# Zig adds traps for undefined behaviour of its own accord.
set(CMAKE_CXX_FLAGS_INIT "-fno-sanitize=all -s")
