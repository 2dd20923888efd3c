#define TESSERA_SIMT_GROUP TESSERA_SIMT_E5M2
#include "attention/backends/portable/gpu/attention_kernels.inl"
