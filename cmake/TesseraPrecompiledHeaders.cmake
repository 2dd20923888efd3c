# Precompiled headers of other libraries: each is parsed once for all targets with the same flags, not once for each file.
# They are forced into every file of such a target, so a build with them does not notice a file that lacks an #include;
# the builds with sanitizers and the cross build, which have none, do.
option(TESSERA_PRECOMPILED_HEADERS "Parse the headers of other libraries once for many files" OFF)

set(TESSERA_STANDARD_HEADERS
  <algorithm> <array> <atomic> <charconv> <chrono> <cmath> <condition_variable> <cstdint> <cstdio> <cstdlib> <cstring>
  <deque> <functional> <limits> <map> <memory> <mutex> <numeric> <optional> <random> <set> <span> <string> <string_view>
  <thread> <unordered_map> <utility> <variant> <vector>)

# tessera_precompiled_headers(NAME HEADERS <a.h>... [LIBS deps...] [OPTIONS flags...])
# Those that targets with tessera_use_precompiled_headers(TARGET NAME) get, the standard library's before them. Their
# flags must be equal, or the compiler warns.
function(tessera_precompiled_headers NAME)
  if(NOT TESSERA_PRECOMPILED_HEADERS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "HEADERS;LIBS;OPTIONS" ${ARGN})
  set(empty ${PROJECT_BINARY_DIR}/empty.cc)
  file(CONFIGURE OUTPUT ${empty} CONTENT "// Written by CMake.\n")
  add_library(tessera_headers_${NAME} OBJECT EXCLUDE_FROM_ALL ${empty})
  target_link_libraries(tessera_headers_${NAME} PRIVATE tessera_compile_options Threads::Threads ${ARG_LIBS})
  target_compile_options(tessera_headers_${NAME} PRIVATE ${ARG_OPTIONS})
  target_precompile_headers(tessera_headers_${NAME} PRIVATE ${TESSERA_STANDARD_HEADERS} ${ARG_HEADERS})
endfunction()

# g++ 12 warns of overflows within its own std::string in these files (GCC bug 105651, of which it is silent if the header
# is not precompiled). Without precompiled headers they keep the warnings; another file of which it warns belongs here too.
set(TESSERA_FILES_WITHOUT_PRECOMPILED_HEADERS
  src/attention/attention_spec.cc
  src/attention/backend_choice.cc
  src/attention/testing/attention_case.cc
  src/cli/bench/load/load_report.cc
  src/cli/progress.cc
  src/engine/kv_memory.cc
  src/ops/cpu/packed_matrix.cc
  src/ops/gpu/gpu_kernels.cc
  src/server/http/http_wire.cc
  src/server/protocol/tool_options.cc
  src/text/chat/filters.cc
  src/text/chat/text_format.cc
  src/text/chat/value.cc
  src/text/tokenizer/decoder.cc
  src/text/tokenizer/json.cc
  tests/program.cc)

# tessera_leave_out_precompiled_headers(TARGET): of the files above.
function(tessera_leave_out_precompiled_headers TARGET)
  get_target_property(sources ${TARGET} SOURCES)
  foreach(source ${sources})
    file(REAL_PATH ${source} path BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    file(RELATIVE_PATH path ${PROJECT_SOURCE_DIR} ${path})
    if(path IN_LIST TESSERA_FILES_WITHOUT_PRECOMPILED_HEADERS)
      set_source_files_properties(${source} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
    endif()
  endforeach()
endfunction()

# Does nothing in a build without them.
function(tessera_use_precompiled_headers TARGET NAME)
  if(TARGET tessera_headers_${NAME})
    target_precompile_headers(${TARGET} REUSE_FROM tessera_headers_${NAME})
    tessera_leave_out_precompiled_headers(${TARGET})
  endif()
endfunction()

tessera_precompiled_headers(standard)
if(TESSERA_ENGINE)
  find_package(nlohmann_json REQUIRED)
  tessera_precompiled_headers(json HEADERS <nlohmann/json.hpp> LIBS nlohmann_json::nlohmann_json)
endif()
# What compiles a test, here and in tessera_test().
set(TESSERA_TEST_OPTIONS $<$<CONFIG:Release>:-O1>)
if(TESSERA_TESTS)
  tessera_precompiled_headers(test HEADERS <gmock/gmock.h> <gtest/gtest.h> LIBS GTest::gmock
    OPTIONS -fPIE ${TESSERA_TEST_OPTIONS})
endif()
