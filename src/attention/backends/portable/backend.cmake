find_package(hwy REQUIRED)
tessera_backend(portable
  CLASS Portable
  DESCRIPTION "one kernel source for every machine; on a CPU through Highway, for the best instruction set found at run time"
  SOURCES portable_backend.cc cpu_kernels.cc simd_kernels_byte.cc simd_kernels_wide.cc gpu/gpu_backend.cc
          gpu/gpu_plan.cc gpu/kernel_table.cc
  LIBS hwy::hwy)
set(simd_kernels ${CMAKE_CURRENT_LIST_DIR}/simd_kernels_byte.cc ${CMAKE_CURRENT_LIST_DIR}/simd_kernels_wide.cc)
# SVE's vectors have no size at compile time, which the register panels of the policy need: Arm runs the NEON instances.
# AVX3_DL adds nothing that this kernel uses, and a CPU with SSSE3 alone is served by the scalar one.
set_source_files_properties(${simd_kernels} PROPERTIES COMPILE_DEFINITIONS
  "HWY_DISABLED_TARGETS=(HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128|HWY_SSSE3|HWY_AVX3_DL)")
tessera_dense_code(${CMAKE_CURRENT_LIST_DIR}/cpu_kernels.cc ${simd_kernels})
