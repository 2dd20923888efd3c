#define TESSERA_SIMT_GROUP TESSERA_SIMT_E4M3FNUZ
#include "attention/backends/portable/gpu/attention_kernels.inl"
