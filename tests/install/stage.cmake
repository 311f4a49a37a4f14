# SPDX-License-Identifier: Apache-2.0
#
# Installs a build into a prefix and moves it, after a look for paths that would not survive that.
#   cmake -Dbuild= -Dsource= -Dconfig= -Dwork= -Dprefix= -P stage.cmake
set(first "${work}/first")
file(REMOVE_RECURSE "${work}")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${build}" --config "${config}" --prefix
                        "${first}" COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)

file(GLOB_RECURSE texts "${first}/*.cmake" "${first}/*.pc" "${first}/*.h" "${first}/*.hpp")
list(LENGTH texts count)
if(count LESS 10)
  message(FATAL_ERROR "only ${count} headers and package files were installed")
endif()
foreach(text IN LISTS texts)
  file(READ "${text}" content)
  # A toolkit is where it is, as one in /usr/local is.
  string(REPLACE "${source}/build/toolkit/" "" content "${content}")
  foreach(path "${first}" "${source}" "${build}")
    string(FIND "${content}" "${path}" at)
    if(NOT at EQUAL -1)
      message(SEND_ERROR "${text} names ${path}: it cannot be moved")
    endif()
  endforeach()
endforeach()

file(RENAME "${first}" "${prefix}")
