#define TESSERA_SIMT_GROUP TESSERA_SIMT_E4M3FN_256
#include "attention/backends/portable/gpu/attention_kernels.inl"
