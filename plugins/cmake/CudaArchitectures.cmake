# Which architectures the CUDA kernels are compiled for.

# Turing to Blackwell, Orin (87) and Thor (110) among them.
set(MSDK_CUDA_ALL 75 80 86 87 89 90 100 110 120)

# The ones of MSDK_CUDA_ALL that a compiler knows, as CMAKE_CUDA_ARCHITECTURES takes them, with PTX of the newest for
# GPUs to come. `listed`: what `nvcc --list-gpu-arch` prints.
function(msdk_all_architectures out listed)
  set(known "")
  foreach(architecture IN LISTS MSDK_CUDA_ALL)
    if(listed MATCHES "compute_${architecture}([^0-9]|$)")
      list(APPEND known ${architecture}-real)
    endif()
  endforeach()
  if(NOT known)
    message(FATAL_ERROR "nvcc --list-gpu-arch: expected some of compute_75 to compute_120, got '${listed}'. "
      "Install CUDA 11.8 or newer, or set MSDK_CUDA_ARCHITECTURES to what your nvcc knows.")
  endif()
  list(POP_BACK known newest)
  string(REPLACE "-real" "" newest ${newest})
  set(${out} ${known} ${newest} PARENT_SCOPE)
endfunction()

# A Jetson's, whose nvidia-smi may not tell it: Orin's, Thor's, or nothing on other machines. `compatible`: what
# /proc/device-tree/compatible holds.
function(msdk_tegra_architecture out compatible)
  set(found "")
  if(compatible MATCHES "tegra234")
    set(found 87)
  elseif(compatible MATCHES "tegra264")
    set(found 110)
  endif()
  set(${out} "${found}" PARENT_SCOPE)
endfunction()
