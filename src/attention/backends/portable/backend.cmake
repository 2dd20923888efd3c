find_package(hwy REQUIRED)
tessera_backend(portable
  CLASS Portable
  DESCRIPTION "one kernel source for every machine; on a CPU through Highway, for the best instruction set found at run time"
  SOURCES portable_backend.cc cpu_kernels.cc
  LIBS hwy::hwy)
