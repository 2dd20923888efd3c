#define TESSERA_SIMT_GROUP TESSERA_SIMT_FLOAT16
#include "attention/backends/portable/gpu/attention_kernels.inl"
