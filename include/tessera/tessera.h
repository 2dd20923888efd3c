// The whole attention library.
#pragma once

#include "tessera/attention_batch.h"   // IWYU pragma: export
#include "tessera/attention_spec.h"    // IWYU pragma: export
#include "tessera/backend.h"           // IWYU pragma: export
#include "tessera/context_parallel.h"  // IWYU pragma: export
#include "tessera/device.h"            // IWYU pragma: export
#include "tessera/dtype.h"             // IWYU pragma: export
#include "tessera/kv_cache.h"          // IWYU pragma: export
#include "tessera/merge.h"             // IWYU pragma: export
#include "tessera/packed_cache.h"      // IWYU pragma: export
#include "tessera/plugin.h"            // IWYU pragma: export
#include "tessera/registry.h"          // IWYU pragma: export
#include "tessera/result.h"            // IWYU pragma: export
#include "tessera/thread_pool.h"       // IWYU pragma: export
