# Finds ONNX Runtime's C and C++ headers and defines the target onnxruntime_headers.
#
# In this order: ONNXRUNTIME_INCLUDE_DIR (CMake variable or environment), third_party/onnxruntime of a source
# distribution, the system, a download kept in the user's cache folder. The wheels on PyPI hold no headers; the only
# published package with those of a release is an npm one (MIT licence), 150 MB of iOS libraries beside them, of which
# the headers alone are kept.

include(${CMAKE_CURRENT_LIST_DIR}/CacheFolder.cmake)

set(MSDK_ORT_PACKAGE "com.github.asus4.onnxruntime")
set(MSDK_ORT_VERSION "0.4.9")  # ONNX Runtime API 29
set(MSDK_ORT_SHA256 "e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d")

function(msdk_download_headers folder)
  find_program(NPM npm)
  if(NOT NPM)
    message(FATAL_ERROR
      "ONNX Runtime's headers were found nowhere, and npm, which would download them, is missing. Either install npm, "
      "or unpack the onnxruntime release archive for this machine and set ONNXRUNTIME_INCLUDE_DIR to its include/.")
  endif()
  set(work "${folder}.part")
  file(REMOVE_RECURSE "${work}")
  file(MAKE_DIRECTORY "${work}")
  message(STATUS "Downloading ONNX Runtime's headers (${MSDK_ORT_PACKAGE}@${MSDK_ORT_VERSION}, 150 MB, once)")
  execute_process(COMMAND "${NPM}" pack --silent "${MSDK_ORT_PACKAGE}@${MSDK_ORT_VERSION}"
    WORKING_DIRECTORY "${work}" RESULT_VARIABLE failed OUTPUT_QUIET ERROR_VARIABLE output)
  set(archive "${work}/${MSDK_ORT_PACKAGE}-${MSDK_ORT_VERSION}.tgz")
  if(failed OR NOT EXISTS "${archive}")
    message(FATAL_ERROR "npm could not download ONNX Runtime's headers: ${output}\n"
      "Without a network, set ONNXRUNTIME_INCLUDE_DIR to a folder that holds onnxruntime_cxx_api.h.")
  endif()
  file(SHA256 "${archive}" actual)
  if(NOT actual STREQUAL MSDK_ORT_SHA256)
    message(FATAL_ERROR "${MSDK_ORT_PACKAGE}: expected SHA-256 ${MSDK_ORT_SHA256}, got ${actual}; nothing was unpacked.")
  endif()
  set(inside "package/Plugins/iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers")
  execute_process(COMMAND "${CMAKE_COMMAND}" -E tar xzf "${archive}" "${inside}" WORKING_DIRECTORY "${work}"
    COMMAND_ERROR_IS_FATAL ANY)
  file(REMOVE_RECURSE "${folder}")
  file(RENAME "${work}/${inside}" "${folder}")
  file(REMOVE_RECURSE "${work}")
endfunction()

if(NOT ONNXRUNTIME_INCLUDE_DIR AND DEFINED ENV{ONNXRUNTIME_INCLUDE_DIR})
  set(ONNXRUNTIME_INCLUDE_DIR "$ENV{ONNXRUNTIME_INCLUDE_DIR}")
endif()
if(ONNXRUNTIME_INCLUDE_DIR)
  if(NOT EXISTS "${ONNXRUNTIME_INCLUDE_DIR}/onnxruntime_cxx_api.h")
    message(FATAL_ERROR "ONNXRUNTIME_INCLUDE_DIR is ${ONNXRUNTIME_INCLUDE_DIR}, which has no onnxruntime_cxx_api.h")
  endif()
  set(msdk_ort_include "${ONNXRUNTIME_INCLUDE_DIR}")
else()
  find_path(msdk_ort_include onnxruntime_cxx_api.h HINTS "${CMAKE_CURRENT_SOURCE_DIR}/third_party"
    PATH_SUFFIXES onnxruntime onnxruntime/core/session NO_CACHE)
  if(NOT msdk_ort_include)
    msdk_cache_folder(cache)
    set(msdk_ort_include "${cache}/onnxruntime-headers-${MSDK_ORT_VERSION}")
    if(NOT EXISTS "${msdk_ort_include}/onnxruntime_cxx_api.h")
      file(MAKE_DIRECTORY "${cache}")
      msdk_download_headers("${msdk_ort_include}")
    endif()
  endif()
endif()
message(STATUS "ONNX Runtime headers: ${msdk_ort_include}")
set(MSDK_ORT_HEADERS "${msdk_ort_include}" CACHE INTERNAL "Where ONNX Runtime's headers were found")

add_library(onnxruntime_headers INTERFACE)
target_include_directories(onnxruntime_headers SYSTEM INTERFACE "${msdk_ort_include}")

# For a source distribution: cmake --install BUILD --component headers --prefix FOLDER
install(DIRECTORY "${msdk_ort_include}/" DESTINATION . COMPONENT headers EXCLUDE_FROM_ALL
  FILES_MATCHING PATTERN "onnxruntime_*.h")
