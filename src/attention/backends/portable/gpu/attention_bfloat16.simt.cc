#define TESSERA_SIMT_GROUP TESSERA_SIMT_BFLOAT16
#include "attention/backends/portable/gpu/attention_kernels.inl"
