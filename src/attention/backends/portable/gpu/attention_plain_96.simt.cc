#define TESSERA_SIMT_GROUP TESSERA_SIMT_PLAIN_96
#include "attention/backends/portable/gpu/attention_kernels.inl"
