# The user's cache folder of this project, where downloaded headers are kept.
function(msdk_cache_folder out)
  if(DEFINED ENV{XDG_CACHE_HOME})
    set(${out} "$ENV{XDG_CACHE_HOME}/msdk_rt" PARENT_SCOPE)
  else()
    set(${out} "$ENV{HOME}/.cache/msdk_rt" PARENT_SCOPE)
  endif()
endfunction()
