#define TESSERA_SIMT_GROUP TESSERA_SIMT_PLAIN_32
#include "attention/backends/portable/gpu/attention_kernels.inl"
