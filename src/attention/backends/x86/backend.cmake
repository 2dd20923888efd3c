tessera_backend(x86
  CLASS X86
  DESCRIPTION "x86-64 CPUs with AVX-512: float32, bfloat16 by AVX512-BF16 or AMX, whichever is the fastest there"
  SOURCES x86_backend.cc x86_kernels.cc avx512_kernels.cc avx512_bf16_kernels.cc
          amx_kernels.cc)
tessera_dense_code(${CMAKE_CURRENT_LIST_DIR}/avx512_kernels.cc ${CMAKE_CURRENT_LIST_DIR}/avx512_bf16_kernels.cc ${CMAKE_CURRENT_LIST_DIR}/amx_kernels.cc)
