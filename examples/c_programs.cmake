# SPDX-License-Identifier: Apache-2.0
#
# How programs in C11 are built that use the C interface. Examples and tests both include this file;
# tests find it here when the examples themselves are not built.

# Sets tidepool_c to whether programs in C can be built. The C compiler is the one that lies beside
# the C++ compiler, so that a cross build never mixes two machines.
macro(tidepool_enable_c)
  if(NOT CMAKE_C_COMPILER)
    get_filename_component(tidepool_cc_dir "${CMAKE_CXX_COMPILER}" DIRECTORY)
    get_filename_component(tidepool_cc "${CMAKE_CXX_COMPILER}" NAME)
    string(REPLACE "clang++" "clang" tidepool_cc "${tidepool_cc}")
    string(REPLACE "g++" "gcc" tidepool_cc "${tidepool_cc}")
    string(REPLACE "c++" "cc" tidepool_cc "${tidepool_cc}")
    set(tidepool_cc "${tidepool_cc_dir}/${tidepool_cc}")
    if(EXISTS "${tidepool_cc}")
      set(CMAKE_C_COMPILER "${tidepool_cc}" CACHE FILEPATH "C compiler, for examples and tests")
    endif()
  endif()
  set(tidepool_c FALSE)
  if(CMAKE_C_COMPILER)
    enable_language(C)
    set(tidepool_c TRUE)
  endif()
endmacro()

# Adds a program in C11 with the warnings and sanitizers of the C++ code.
function(tidepool_add_c_program name source)
  add_executable(${name} ${source})
  string(REGEX MATCHALL "-f(no-)?sanitize[^ ]*" sanitizers "${CMAKE_CXX_FLAGS}")
  target_compile_options(
    ${name}
    PRIVATE ${sanitizers}
            -Wall
            -Wextra
            -Wpedantic
            -Wconversion
            -Wsign-conversion
            -Wshadow
            -Wcast-qual
            -Wmissing-prototypes
            -Wstrict-prototypes)
  set_target_properties(${name} PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
                                           LINKER_LANGUAGE CXX)
  target_link_libraries(${name} PRIVATE tidepool::core tidepool::cpu)
endfunction()
