# tessera_dense_code(SOURCES...)
# For kernels that are unrolled into thousands of memory accesses: UndefinedBehaviorSanitizer leaves out what
# AddressSanitizer finds as well at such an access, and AddressSanitizer's checks are calls, not code in place: with both,
# no file compiles for a minute.
function(tessera_dense_code)
  set(options "")
  if(TESSERA_SANITIZE MATCHES "undefined")
    list(APPEND options -fno-sanitize=null,alignment,object-size,pointer-overflow)
  endif()
  if(TESSERA_SANITIZE MATCHES "address" AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    list(APPEND options -mllvm -asan-instrumentation-with-call-threshold=0)
  endif()
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS "${options}")
endfunction()

# tessera_library(NAME SOURCES... [PUBLIC deps...] [PRIVATE deps...] [HEADERS precompiled])
# A static library `tessera_NAME`, alias `tessera::NAME`. Includes are written from src/ or include/. HEADERS names one of
# TesseraPrecompiledHeaders.cmake, `standard` without it.
function(tessera_library NAME)
  cmake_parse_arguments(ARG "" "HEADERS" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(tessera_${NAME} STATIC ${ARG_SOURCES})
  add_library(tessera::${NAME} ALIAS tessera_${NAME})
  set_target_properties(tessera_${NAME} PROPERTIES EXPORT_NAME ${NAME})
  target_include_directories(tessera_${NAME} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
    $<INSTALL_INTERFACE:include>)
  target_compile_features(tessera_${NAME} PUBLIC cxx_std_20)
  target_link_libraries(tessera_${NAME} PUBLIC ${ARG_PUBLIC}
    PRIVATE $<BUILD_INTERFACE:tessera_compile_options> ${ARG_PRIVATE})
  if(NOT ARG_HEADERS)
    set(ARG_HEADERS standard)
  endif()
  tessera_use_precompiled_headers(tessera_${NAME} ${ARG_HEADERS})
endfunction()

# tessera_testing_library(NAME SOURCES... LIBS deps...)
# What several tests share, compiled once; optimised as libraries are, since oracles compute for long.
function(tessera_testing_library NAME)
  if(NOT TESSERA_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_library(${NAME} STATIC ${ARG_SOURCES})
  target_link_libraries(${NAME} PUBLIC ${ARG_LIBS} tessera_compile_options)
  tessera_use_precompiled_headers(${NAME} standard)
endfunction()

# tessera_test(NAME SOURCES... LIBS deps... [TIMEOUT seconds] [LABELS labels...] [DEVICES devices...])
# A GoogleTest program beside the code it tests, registered with ctest as one test. The test's own code is optimised less
# than what it tests.
# TESSERA_SOURCE_DIR in its environment is the root of the source tree. The target tests_LABEL builds
# all tests of a label; `threads` marks those that ThreadSanitizer runs. For each of DEVICES the same program runs
# once more, as NAME_on_DEVICE, with TESSERA_DEVICE in its environment.
function(tessera_test NAME)
  if(NOT TESSERA_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBS;LABELS;DEVICES" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 900)  # sanitizers on two busy cores
  endif()
  add_executable(${NAME} ${ARG_SOURCES})
  target_link_libraries(${NAME} PRIVATE ${ARG_LIBS} tessera_compile_options GTest::gmock GTest::gtest_main)
  target_compile_options(${NAME} PRIVATE ${TESSERA_TEST_OPTIONS})
  tessera_use_precompiled_headers(${NAME} test)
  foreach(device "" ${ARG_DEVICES})
    set(test ${NAME})
    # Frames on the heap would cost each fiber of the GPU emulator megabytes.
    set(environment "TESSERA_SOURCE_DIR=${PROJECT_SOURCE_DIR};ASAN_OPTIONS=detect_stack_use_after_return=0")
    if(device)
      set(test ${NAME}_on_${device})
      list(APPEND environment "TESSERA_DEVICE=${device}")
    endif()
    add_test(NAME ${test} COMMAND ${NAME})
    set_tests_properties(${test} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
      ENVIRONMENT "${environment}")
  endforeach()
  foreach(label ${ARG_LABELS})
    if(NOT TARGET tests_${label})
      add_custom_target(tests_${label})
    endif()
    add_dependencies(tests_${label} ${NAME})
  endforeach()
endfunction()
