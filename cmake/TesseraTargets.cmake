# tessera_library(NAME SOURCES... [PUBLIC deps...] [PRIVATE deps...])
# A static library `tessera_NAME`, alias `tessera::NAME`. Includes are written from src/ or include/.
function(tessera_library NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(tessera_${NAME} STATIC ${ARG_SOURCES})
  add_library(tessera::${NAME} ALIAS tessera_${NAME})
  set_target_properties(tessera_${NAME} PROPERTIES EXPORT_NAME ${NAME})
  target_include_directories(tessera_${NAME} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
    $<INSTALL_INTERFACE:include>)
  target_compile_features(tessera_${NAME} PUBLIC cxx_std_20)
  target_link_libraries(tessera_${NAME} PUBLIC ${ARG_PUBLIC}
    PRIVATE $<BUILD_INTERFACE:tessera_compile_options> ${ARG_PRIVATE})
endfunction()

# tessera_test(NAME SOURCES... LIBS deps... [TIMEOUT seconds] [LABELS labels...])
# A GoogleTest program beside the code it tests, registered with ctest as one test.
# TESSERA_SOURCE_DIR in its environment is the root of the source tree. The target tests_LABEL builds
# all tests of a label; `threads` marks those that ThreadSanitizer runs.
function(tessera_test NAME)
  if(NOT TESSERA_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 900)  # sanitizers on two busy cores
  endif()
  add_executable(${NAME} ${ARG_SOURCES})
  target_link_libraries(${NAME} PRIVATE ${ARG_LIBS} tessera_compile_options GTest::gmock GTest::gtest_main)
  add_test(NAME ${NAME} COMMAND ${NAME})
  set_tests_properties(${NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    # Frames on the heap would cost each fiber of the GPU emulator megabytes.
    ENVIRONMENT "TESSERA_SOURCE_DIR=${PROJECT_SOURCE_DIR};ASAN_OPTIONS=detect_stack_use_after_return=0")
  foreach(label ${ARG_LABELS})
    if(NOT TARGET tests_${label})
      add_custom_target(tests_${label})
    endif()
    add_dependencies(tests_${label} ${NAME})
  endforeach()
endfunction()
