// The kernel's GPU instance without the barrier after the staging of K and V, under the name of
// one that the backend launches: a test shows that the emulator notices.
#define TESSERA_DROP_STAGING_BARRIER 1
#define lanes lanes_without_barrier
#define TESSERA_SIMT_TABLE tessera_simt_without_barrier
#define TESSERA_SIMT_GROUP TESSERA_SIMT_PLAIN_64
#include "attention/backends/portable/gpu/attention_kernels.inl"
