find_package(hwy REQUIRED)
tessera_backend(portable
  CLASS Portable
  DESCRIPTION "one kernel source for every machine; on a CPU through Highway, for the best instruction set found at run time"
  SOURCES portable_backend.cc cpu_kernels.cc gpu/gpu_backend.cc gpu/gpu_plan.cc gpu/kernel_table.cc
  LIBS hwy::hwy)
tessera_dense_code(${CMAKE_CURRENT_LIST_DIR}/cpu_kernels.cc)
