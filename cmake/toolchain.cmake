# Compiler and linker settings that hold for all of our code.
if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(CCACHE ccache)
  if(CCACHE)
    # The precompiled header is cached too; these are the settings that ccache's manual asks for then.
    set(CMAKE_CXX_COMPILER_LAUNCHER
        ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
  endif()
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_library(dynamo_flags INTERFACE)
target_compile_options(dynamo_flags INTERFACE
  -Wall -Wextra -Werror
  # Where lines that run are counted, gcov must find the files by their whole names.
  $<IF:$<BOOL:${DYNAMO_COVERAGE}>,-fmacro-prefix-map,-ffile-prefix-map>=${CMAKE_SOURCE_DIR}/src/= -fno-math-errno)
target_include_directories(dynamo_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
# The standard library's checks of indices, empty containers and the like stay on in what people run: an overrun ends the
# process at once, before it can be put to use.
target_compile_definitions(dynamo_flags INTERFACE BOOST_ASIO_NO_DEPRECATED BOOST_ALL_NO_LIB _GLIBCXX_ASSERTIONS)
# What Asio holds that is no template is compiled once, in base/asio.cc, and not in each file that includes it.
target_compile_definitions(dynamo_flags INTERFACE BOOST_ASIO_SEPARATE_COMPILATION)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # libstdc++ 12's own std::stable_sort uses what it calls deprecated, which clang says at our call.
  target_compile_options(dynamo_flags INTERFACE -Wthread-safety -Wno-deprecated-declarations)
endif()
if(DYNAMO_SANITIZER)
  add_compile_options(-fsanitize=${DYNAMO_SANITIZER} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${DYNAMO_SANITIZER})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 reports false -Wmaybe-uninitialized and friends under its sanitizers.
    add_compile_options(-Wno-error=maybe-uninitialized -Wno-error=tsan -Wno-maybe-uninitialized -Wno-tsan
                        $<$<COMPILE_LANGUAGE:CXX>:-Wno-mismatched-new-delete> -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow)
  endif()
endif()
if(DYNAMO_COVERAGE)
  # The precompiled header's own notes would lie about the files that use it.
  set(CMAKE_DISABLE_PRECOMPILE_HEADERS ON)
  add_compile_options(--coverage -fprofile-update=atomic)
  add_link_options(--coverage)
endif()
if(DYNAMO_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# What is generated from *.proto. Its headers are not ours: no warnings from them.
add_library(dynamo_generated INTERFACE)
target_include_directories(dynamo_generated SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/generated)
target_link_libraries(dynamo_generated INTERFACE PkgConfig::PROTOBUF_LITE)
