#define TESSERA_SIMT_GROUP TESSERA_SIMT_INT8
#include "attention/backends/portable/gpu/attention_kernels.inl"
