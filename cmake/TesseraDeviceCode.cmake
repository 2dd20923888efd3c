# Kernels of GPUs: one source, *.simt.cc (src/device/gpu/simt.h), for every compiler that is there. NVIDIA's nvcc makes
# sm_80 and sm_90a, clang++-19 (no ROCm needed) makes gfx90a, gfx942, gfx1100 and gfx1200; the machine code lies in the
# program. Nothing links against a driver. The C++ compiler makes the functions of the lock-step emulator.
set(TESSERA_DEVICE_ARCHS auto CACHE STRING
  "GPUs to compile kernels for: auto (sm_90a, gfx942, if their compilers are found), all, OFF, or a list of sm_80, sm_90a, \
gfx90a, gfx942, gfx1100, gfx1200, simt (the emulator, in the program as well as in its tests)")
find_program(TESSERA_NVCC nvcc PATHS /usr/local/cuda/bin)
find_program(TESSERA_HIP_CLANG clang++-19)
# Makes the text of gfx942's code that rocm-emulated executes, and zlib packs it; without them that device is not there.
find_program(TESSERA_LLVM_OBJDUMP llvm-objdump-19)
find_package(ZLIB QUIET)
if(TESSERA_LLVM_OBJDUMP AND ZLIB_FOUND)
  set(TESSERA_LISTINGS TRUE)
else()
  set(TESSERA_LISTINGS FALSE)
  set(lacking "")
  if(NOT TESSERA_LLVM_OBJDUMP)
    list(APPEND lacking "llvm-objdump-19 (package llvm-19)")
  endif()
  if(NOT ZLIB_FOUND)
    list(APPEND lacking "zlib (package zlib1g-dev)")
  endif()
  list(JOIN lacking " and " lacking)
  message(STATUS "No rocm-emulated, and none of its tests (rocm_emulated_test, gfx942_*): ${lacking} is not here")
endif()

# Which of them this build makes, with its compilers.
function(tessera_choose_device_archs)
  set(wanted "${TESSERA_DEVICE_ARCHS}")
  if(wanted STREQUAL "" OR wanted MATCHES "^(OFF|off|none)$" OR (CMAKE_CROSSCOMPILING AND wanted STREQUAL "auto"))
    set(wanted "")
  endif()
  list(TRANSFORM wanted REPLACE "^auto$" "sm_90a;gfx942")
  list(TRANSFORM wanted REPLACE "^all$" "sm_80;sm_90a;gfx90a;gfx942;gfx1100;gfx1200")
  set(wanted ${wanted})  # of lists in a list one
  list(REMOVE_DUPLICATES wanted)
  set(built "")
  set(left_out "")
  foreach(arch ${wanted})
    if(arch STREQUAL "simt")
      continue()
    elseif(arch MATCHES "^sm_[0-9]+a?$")
      set(compiler "${TESSERA_NVCC}")
    elseif(arch MATCHES "^gfx[0-9a-f]+$")
      set(compiler "${TESSERA_HIP_CLANG}")
    else()
      message(FATAL_ERROR "TESSERA_DEVICE_ARCHS: ${arch} is no architecture; choose auto, all, OFF, or some of sm_80, "
        "sm_90a, gfx90a, gfx942, gfx1100, gfx1200, simt")
    endif()
    if(compiler)
      list(APPEND built ${arch})
    else()
      list(APPEND left_out ${arch})
    endif()
  endforeach()
  if(left_out)
    message(STATUS "No kernels for ${left_out}: their compiler (nvcc for sm_*, clang++-19 for gfx*) is not here")
  endif()
  message(STATUS "Kernels for GPUs: ${built}")
  set(TESSERA_BUILT_ARCHS "${built}" PARENT_SCOPE)
  list(TRANSFORM built REPLACE "(.+)" "\"\\1\"")
  list(JOIN built ", " text)
  set(TESSERA_BUILT_ARCHS_TEXT "${text}" PARENT_SCOPE)
  if("simt" IN_LIST wanted)
    set(TESSERA_SIMT_IN_PROGRAM TRUE PARENT_SCOPE)
  else()
    set(TESSERA_SIMT_IN_PROGRAM FALSE PARENT_SCOPE)
  endif()
endfunction()
tessera_choose_device_archs()

if(TESSERA_BUILT_ARCHS)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
endif()
set(TESSERA_CUDA_MAJOR 12)
if(TESSERA_NVCC AND TESSERA_BUILT_ARCHS MATCHES "sm_")
  execute_process(COMMAND ${TESSERA_NVCC} --version OUTPUT_VARIABLE version)
  if(version MATCHES "release ([0-9]+)\\.")
    set(TESSERA_CUDA_MAJOR ${CMAKE_MATCH_1})
  endif()
endif()

# tessera_device_code(Name TARGET target SOURCES x.simt.cc... [ARCHS sm_90a gfx942 ...] [MATRIX regex] [MAY_SPILL regex bytes])
# Compiles the sources and puts the result into `target`, a library of the same CMakeLists.txt, as
#   std::span<const KernelModule> tessera::<Name>Modules();   // one for each source
#   std::span<const KernelImage> tessera::<Name>Images();     // if there is one source
# which their users declare. ARCHS: those that the sources are written for (default: any). Kernels whose names match MATRIX
# must contain matrix instructions; spilled registers (but for MAY_SPILL) and scratch memory fail the build (cmake/compile_device_code.py; what
# kernels take is in NAME.ARCH.txt of the folder device_code). `simt_<Name>` is an object library of the functions for the
# emulator: tests link it, and simt-emulated devices find the kernels only in programs that do.
function(tessera_device_code NAME)
  cmake_parse_arguments(ARG "" "TARGET;MATRIX" "SOURCES;ARCHS;MAY_SPILL" ${ARGN})
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/device_code)
  file(MAKE_DIRECTORY ${folder})
  set(matrix "")
  if(ARG_MATRIX)
    set(matrix --matrix "${ARG_MATRIX}")
  endif()
  if(ARG_MAY_SPILL)
    list(APPEND matrix --may-spill ${ARG_MAY_SPILL})
  endif()
  set(declarations "")
  set(embedded "")
  set(modules "")
  set(objects "")
  foreach(source ${ARG_SOURCES})
    get_filename_component(stem ${source} NAME)
    string(REPLACE ".simt.cc" "" stem ${stem})
    get_filename_component(path ${source} ABSOLUTE)
    set(table tessera_simt_${NAME}_${stem})
    set_source_files_properties(${source} PROPERTIES COMPILE_DEFINITIONS TESSERA_SIMT_TABLE=${table})
    if(NOT TESSERA_SIMT_IN_PROGRAM)
      set(weak "__attribute__((weak)) ")
    else()
      set(weak "")
    endif()
    string(APPEND declarations "extern \"C\" ${weak}const tessera::HostKernel* ${table}(std::size_t* count);\n")
    string(APPEND modules "  {\n    Images images;\n")
    foreach(arch ${TESSERA_BUILT_ARCHS})
      if(ARG_ARCHS AND NOT arch IN_LIST ARG_ARCHS)
        continue()
      endif()
      set(compiler ${TESSERA_NVCC})
      if(arch MATCHES "^gfx")
        set(compiler ${TESSERA_HIP_CLANG})
      endif()
      set(object ${folder}/${stem}.${arch})
      set(listing "")
      set(objdump "")
      if(arch STREQUAL "gfx942" AND TESSERA_LISTINGS)
        set(listing ${object}.listing.packed)
        set(objdump --objdump ${TESSERA_LLVM_OBJDUMP})
      endif()
      add_custom_command(OUTPUT ${object} ${listing}
        COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/cmake/compile_device_code.py --compiler ${compiler} --arch ${arch}
          --output ${object} --depfile ${object}.d ${matrix} ${objdump} -I ${PROJECT_SOURCE_DIR}/include -I ${PROJECT_SOURCE_DIR}/src
          ${path}
        DEPENDS ${path} ${PROJECT_SOURCE_DIR}/cmake/compile_device_code.py
        DEPFILE ${object}.d
        COMMENT "Kernels ${stem} for ${arch}"
        VERBATIM)
      list(APPEND objects ${object} ${listing})
      set(symbol tessera_code_${NAME}_${stem}_${arch})
      string(APPEND declarations "extern \"C\" const unsigned char ${symbol}[], ${symbol}_end[];\n")
      string(APPEND embedded "\"${symbol}:\\n.incbin \\\"${object}\\\"\\n${symbol}_end:\\n.byte 0\\n.balign 64\\n\"\n")
      set(text "")
      if(listing)
        string(APPEND declarations "extern \"C\" const char ${symbol}_text[], ${symbol}_text_end[];\n")
        string(APPEND embedded "\"${symbol}_text:\\n.incbin \\\"${listing}\\\"\\n${symbol}_text_end:\\n.byte 0\\n.balign 64\\n\"\n")
        set(text ", .listing = {${symbol}_text, ${symbol}_text_end}")
      endif()
      string(APPEND modules "    images.push_back({.arch = \"${arch}\", .code = {${symbol}, ${symbol}_end}${text}});\n")
    endforeach()
    if(weak)
      string(APPEND modules "    if (${table} != nullptr) images.push_back(Emulated(${table}));\n")
    else()
      string(APPEND modules "    images.push_back(Emulated(${table}));\n")
    endif()
    string(APPEND modules "    all.push_back({\"${stem}\", std::move(images)});\n  }\n")
  endforeach()
  set(images "")
  list(LENGTH ARG_SOURCES count)
  if(count EQUAL 1)
    set(images "
std::span<const KernelImage> ${NAME}Images();
std::span<const KernelImage> ${NAME}Images() { return ${NAME}Modules().front().images; }
")
  endif()
  if(embedded)
    set(embedded "__asm__(\".pushsection .rodata\\n.balign 64\\n\"\n${embedded}\".popsection\\n\");\n")
  endif()
  set(generated ${folder}/${NAME}.cc)
  file(CONFIGURE OUTPUT ${generated} @ONLY CONTENT "// Written by CMake.
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include \"device/gpu/gpu_device.h\"

@declarations@@embedded@
namespace tessera {
namespace {

using Images = std::vector<KernelImage>;
struct Module {
  const char* name;
  Images images;
};

[[maybe_unused]] KernelImage Emulated(const HostKernel* (*table)(std::size_t*)) {
  std::size_t count = 0;
  const HostKernel* const kernels = table(&count);
  return {.arch = \"simt\", .functions = {kernels, count}};
}

std::vector<Module> MakeModules() {
  std::vector<Module> all;
@modules@  return all;
}

}  // namespace

std::span<const KernelModule> @NAME@Modules();
std::span<const KernelModule> @NAME@Modules() {
  static const std::vector<Module> kOwned = MakeModules();
  static const std::vector<KernelModule> kModules = [] {
    std::vector<KernelModule> modules;
    for (const Module& module : kOwned) modules.push_back({module.name, module.images});
    return modules;
  }();
  return kModules;
}
@images@
}  // namespace tessera
")
  set_source_files_properties(${generated} PROPERTIES OBJECT_DEPENDS "${objects}")
  target_sources(${ARG_TARGET} PRIVATE ${generated})
  add_library(simt_${NAME} OBJECT EXCLUDE_FROM_ALL ${ARG_SOURCES})
  target_include_directories(simt_${NAME} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_compile_features(simt_${NAME} PRIVATE cxx_std_20)
  target_link_libraries(simt_${NAME} PRIVATE tessera_compile_options)
  if(TESSERA_SIMT_IN_PROGRAM)
    target_sources(${ARG_TARGET} PRIVATE $<TARGET_OBJECTS:simt_${NAME}>)
  endif()
  if(NOT TARGET device_code)
    add_custom_target(device_code)
  endif()
  add_custom_target(device_code_${NAME} DEPENDS ${objects})
  add_dependencies(device_code device_code_${NAME})
endfunction()
