# Finds TensorRT's C++ headers and defines the target tensorrt_headers; MSDK_TENSORRT_FOUND says whether it did, and
# MSDK_TENSORRT_PROBLEM why not.
#
# In this order: TENSORRT_INCLUDE_DIR (CMake variable or environment), the system and the usual places of NVIDIA's
# archive, a download kept in the user's cache folder. PyPI has no package of NVIDIA's with headers; kernel-lens is a
# small pure-Python wheel that carries those of TensorRT 10.14 (NVIDIA's, Apache-2.0): it is unpacked, never installed.
# A plugin built with them runs in TensorRT 11 too: what the plugins use has not changed since.

include(${CMAKE_CURRENT_LIST_DIR}/CacheFolder.cmake)

set(MSDK_TENSORRT_PACKAGE "kernel-lens")
set(MSDK_TENSORRT_PACKAGE_VERSION "2.0.1")
set(MSDK_TENSORRT_PACKAGE_SHA256 "07cc714e8b5e7f34b672f7c7fad93febe7c747be5837ba276b1527370134ffe0")
set(MSDK_TENSORRT_VERSION "10.14.1.48")

# Runs pip, from whichever Python has it; `out` is empty or what went wrong.
function(msdk_pip_download requirement folder out)
  set(problem "no Python with pip was found")
  foreach(python "$ENV{VIRTUAL_ENV}/bin/python" python3 python)
    execute_process(COMMAND "${python}" -m pip download --quiet --no-deps --only-binary=:all:
        --disable-pip-version-check --dest "${folder}" "${requirement}"
      RESULT_VARIABLE failed OUTPUT_QUIET ERROR_VARIABLE output)
    if(failed EQUAL 0)
      set(problem "")
      break()
    elseif(output AND NOT output MATCHES "No module named pip")
      set(problem "${output}")
    endif()
  endforeach()
  set(${out} "${problem}" PARENT_SCOPE)
endfunction()

function(msdk_download_tensorrt_headers folder out)
  set(requirement "${MSDK_TENSORRT_PACKAGE}==${MSDK_TENSORRT_PACKAGE_VERSION}")
  set(work "${folder}.part")
  file(REMOVE_RECURSE "${work}")
  file(MAKE_DIRECTORY "${work}")
  message(STATUS "Downloading TensorRT's headers (${requirement}, 0.2 MB, once)")
  msdk_pip_download("${requirement}" "${work}" problem)
  if(problem)
    set(${out} "pip could not download ${requirement}: ${problem}" PARENT_SCOPE)
    return()
  endif()
  file(GLOB wheel "${work}/*.whl")
  file(SHA256 "${wheel}" actual)
  if(NOT actual STREQUAL MSDK_TENSORRT_PACKAGE_SHA256)
    set(${out} "${requirement}: expected SHA-256 ${MSDK_TENSORRT_PACKAGE_SHA256}, got ${actual}; nothing was unpacked"
      PARENT_SCOPE)
    return()
  endif()
  set(inside "kernel_lens/include/tensorrt")
  execute_process(COMMAND "${CMAKE_COMMAND}" -E tar xf "${wheel}" WORKING_DIRECTORY "${work}"
    COMMAND_ERROR_IS_FATAL ANY)
  file(REMOVE_RECURSE "${folder}")
  file(RENAME "${work}/${inside}" "${folder}")
  file(REMOVE_RECURSE "${work}")
  set(${out} "" PARENT_SCOPE)
endfunction()

set(MSDK_TENSORRT_PROBLEM "")
if(NOT TENSORRT_INCLUDE_DIR AND DEFINED ENV{TENSORRT_INCLUDE_DIR})
  set(TENSORRT_INCLUDE_DIR "$ENV{TENSORRT_INCLUDE_DIR}")
endif()
if(TENSORRT_INCLUDE_DIR)
  if(NOT EXISTS "${TENSORRT_INCLUDE_DIR}/NvInferRuntime.h")
    message(FATAL_ERROR "TENSORRT_INCLUDE_DIR is ${TENSORRT_INCLUDE_DIR}, which has no NvInferRuntime.h")
  endif()
  set(msdk_tensorrt_include "${TENSORRT_INCLUDE_DIR}")
else()
  find_path(msdk_tensorrt_include NvInferRuntime.h
    HINTS ENV TENSORRT_ROOT ENV TRT_ROOT /usr/local/tensorrt /usr/local/TensorRT /opt/tensorrt
    PATH_SUFFIXES include ${CMAKE_LIBRARY_ARCHITECTURE} NO_CACHE)
  if(NOT msdk_tensorrt_include)
    msdk_cache_folder(cache)
    set(msdk_tensorrt_include "${cache}/tensorrt-headers-${MSDK_TENSORRT_VERSION}")
    if(NOT EXISTS "${msdk_tensorrt_include}/NvInferRuntime.h")
      msdk_download_tensorrt_headers("${msdk_tensorrt_include}" MSDK_TENSORRT_PROBLEM)
    endif()
  endif()
endif()

if(NOT MSDK_TENSORRT_PROBLEM)
  file(STRINGS "${msdk_tensorrt_include}/NvInferVersion.h" lines
    REGEX "define (NV_TENSORRT_MAJOR|TRT_MAJOR_ENTERPRISE) +[0-9]")
  string(REGEX MATCH "MAJOR[A-Z_]* +([0-9]+)" line "${lines}")
  if(CMAKE_MATCH_1 LESS 10)
    set(MSDK_TENSORRT_PROBLEM "expected TensorRT 10 or newer, got ${CMAKE_MATCH_1} in ${msdk_tensorrt_include}")
  endif()
endif()

if(MSDK_TENSORRT_PROBLEM)
  set(MSDK_TENSORRT_FOUND OFF)
  string(APPEND MSDK_TENSORRT_PROBLEM
    ". Without a network, set TENSORRT_INCLUDE_DIR to a folder that holds NvInferRuntime.h.")
else()
  set(MSDK_TENSORRT_FOUND ON)
  message(STATUS "TensorRT headers: ${msdk_tensorrt_include}")
  add_library(tensorrt_headers INTERFACE)
  target_include_directories(tensorrt_headers SYSTEM INTERFACE "${msdk_tensorrt_include}")
  # They name cudaStream_t and cudaEvent_t. Where there is no CUDA toolkit, our two declarations are enough.
  find_path(msdk_cuda_include cuda_runtime_api.h
    HINTS ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda
    PATH_SUFFIXES include NO_CACHE)
  if(NOT msdk_cuda_include)
    set(msdk_cuda_include "${CMAKE_CURRENT_LIST_DIR}/../tensorrt/without_cuda")
  endif()
  target_include_directories(tensorrt_headers SYSTEM INTERFACE "${msdk_cuda_include}")
endif()
