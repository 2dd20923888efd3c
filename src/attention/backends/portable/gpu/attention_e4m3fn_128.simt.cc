#define TESSERA_SIMT_GROUP TESSERA_SIMT_E4M3FN_128
#include "attention/backends/portable/gpu/attention_kernels.inl"
