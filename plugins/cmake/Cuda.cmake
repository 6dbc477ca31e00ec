# Finds the CUDA compiler and defines the target msdk_cuda, the CUDA kernels of ops/ with the CUDA runtime linked
# statically; MSDK_CUDA_FOUND says whether it did.
#
#   MSDK_CUDA                 AUTO: where nvcc is found, except under sanitizers, which see no device code; ON; OFF
#                             (CMake variable, or environment at the first configuration)
#   MSDK_CUDA_ARCHITECTURES   (CMake variable or environment) compute capabilities as CMAKE_CUDA_ARCHITECTURES takes
#                             them, or `all`: every one that is supported. By default the one of the GPU in this
#                             machine, else 75, whose PTX every newer driver compiles for its GPU at first use.

set(wanted AUTO)
if(DEFINED ENV{MSDK_CUDA})
  set(wanted $ENV{MSDK_CUDA})
endif()
set(MSDK_CUDA "${wanted}" CACHE STRING "Build the GPU kernels: AUTO, ON or OFF")
# Turing to Blackwell, Orin (87) and Thor (110) among them, and PTX for what comes after.
set(MSDK_CUDA_ALL 75-real 80-real 86-real 87-real 89-real 90-real 100-real 110-real 120)

function(msdk_cuda_architectures out)
  if(MSDK_CUDA_ARCHITECTURES)
    set(found "${MSDK_CUDA_ARCHITECTURES}")
  elseif(DEFINED ENV{MSDK_CUDA_ARCHITECTURES})
    set(found "$ENV{MSDK_CUDA_ARCHITECTURES}")
  else()
    find_program(MSDK_NVIDIA_SMI nvidia-smi)
    if(MSDK_NVIDIA_SMI)
      execute_process(COMMAND "${MSDK_NVIDIA_SMI}" --query-gpu=compute_cap --format=csv,noheader
        OUTPUT_VARIABLE listed ERROR_QUIET)
    endif()
    string(REGEX MATCHALL "[0-9]+\\.[0-9]" found "${listed}")
    string(REPLACE "." "" found "${found}")
    list(REMOVE_DUPLICATES found)
    if(NOT found)
      set(found 75)
    endif()
  endif()
  if(found STREQUAL "all")
    set(found ${MSDK_CUDA_ALL})
  endif()
  set(${out} "${found}" PARENT_SCOPE)
endfunction()

set(MSDK_CUDA_FOUND OFF)
if(MSDK_CUDA STREQUAL "ON" OR (MSDK_CUDA STREQUAL "AUTO" AND NOT MSDK_SANITIZE))
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(MSDK_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES bin)
    if(MSDK_NVCC)
      set(CMAKE_CUDA_COMPILER "${MSDK_NVCC}")
    endif()
  endif()
  msdk_cuda_architectures(CMAKE_CUDA_ARCHITECTURES)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(MSDK_CUDA_FOUND ON)
  elseif(MSDK_CUDA STREQUAL "ON")
    message(FATAL_ERROR "MSDK_CUDA is ON, but no working nvcc was found: set CUDACXX to one, or MSDK_CUDA to OFF.")
  endif()
elseif(NOT MSDK_CUDA MATCHES "^(AUTO|OFF)$")
  message(FATAL_ERROR "MSDK_CUDA: expected AUTO, ON or OFF, got ${MSDK_CUDA}")
endif()

if(MSDK_CUDA_FOUND)
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  enable_language(CUDA)
  add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:--Werror=all-warnings;-Xcompiler=-Wall,-Wextra>")
  message(STATUS "CUDA kernels: nvcc ${CMAKE_CUDA_COMPILER_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}")

  add_library(msdk_cuda STATIC ${cuda_ops})
else()
  message(STATUS "CUDA kernels: not built")
endif()
