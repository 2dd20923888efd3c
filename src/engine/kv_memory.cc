#include "engine/kv_memory.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <utility>

namespace tessera {
namespace {

constexpr int64_t kAlignment = 4096;  // of each layer's part, in bytes

KvCacheShape ShapeOf(const AttentionSpec& spec, int64_t num_blocks, int32_t block_size) {
  KvCacheShape shape;
  shape.num_blocks = num_blocks;
  shape.block_size = block_size;
  shape.num_kv_heads = spec.num_kv_heads;
  shape.head_size = spec.head_size;
  shape.head_size_v = spec.head_size_v;
  return shape;
}

int64_t LayerBytes(const AttentionSpec& spec, int64_t num_blocks, int32_t block_size) {
  return KvCacheElements(ShapeOf(spec, num_blocks, block_size)) *
         static_cast<int64_t>(SizeOf(spec.cache_dtype));
}

int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// "1.25 GiB", "512 MiB".
std::string Size(int64_t bytes) {
  const char* const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  std::array<char, 48> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%.4g %s", value, units[unit]);
  return buffer.data();
}

// "8,192".
std::string Grouped(int64_t value) {
  std::string text = std::to_string(value);
  for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

Status CheckLayer(const AttentionSpec& spec) {
  if (spec.shares_kv) {
    return Unsupported(
        "The model has layers that share another layer's KV cache, which the "
        "engine cannot lay out; choose another model.");
  }
  if (spec.kv_scales != ScaleMode::kNone) {
    return Unsupported(
        "The model wants a KV cache with scales, which the engine cannot provide; "
        "choose float32, bfloat16 or float16.");
  }
  return {};
}

}  // namespace

Result<KvPlan> PlanKvMemory(const std::vector<AttentionSpec>& layers, const KvBudget& budget) {
  constexpr int64_t kUnknownMemory = int64_t{4} << 30;  // assumed if the system does not tell
  KvPlan plan;
  for (const AttentionSpec& spec : layers) {
    TESSERA_RETURN_IF_ERROR(CheckLayer(spec));
    plan.block_bytes += LayerBytes(spec, 1, budget.block_size);
  }
  TESSERA_CHECK(plan.block_bytes > 0 && budget.max_model_len > 0 && budget.max_running > 0);

  const int64_t per_request = (budget.max_model_len + budget.block_size - 1) / budget.block_size;
  const int64_t padding = kAlignment * static_cast<int64_t>(layers.size());
  int64_t bytes = budget.kv_cache_bytes;
  int64_t blocks = 0;
  if (bytes == 0) {
    bytes = (budget.available_bytes > 0 ? budget.available_bytes : kUnknownMemory) / 5 * 4;
    blocks = std::min((bytes - padding) / plan.block_bytes, per_request * budget.max_running);
  } else {
    if (budget.available_bytes > 0 && bytes > budget.available_bytes) {
      return OutOfMemory("The KV cache of " + Size(bytes) + " is more than the " +
                         Size(budget.available_bytes) +
                         " of memory that are available; give it at most " +
                         std::to_string(budget.available_bytes / 5 * 4) + " bytes.");
    }
    blocks = bytes / plan.block_bytes;
  }
  const int64_t fewest = budget.block_size == 1 ? 2 : 1;  // a token of prompt and one of output
  if (blocks < fewest) {
    return OutOfMemory("The KV cache of " + Size(std::max<int64_t>(bytes, 0)) +
                       " is too small for any request with blocks of " +
                       std::to_string(budget.block_size) + " tokens; give it at least " +
                       std::to_string(plan.block_bytes * fewest) + " bytes (" +
                       std::to_string(plan.block_bytes * per_request) +
                       " for a request of the model's full length), or choose smaller blocks.");
  }
  blocks = std::min<int64_t>(
      blocks, std::numeric_limits<int32_t>::max() / budget.block_size);  // token counts are int32
  plan.num_blocks = static_cast<int32_t>(blocks);
  plan.asked_model_len = budget.max_model_len;
  plan.max_model_len = std::min(budget.max_model_len, blocks * budget.block_size);
  plan.notes.push_back("KV cache: " + Size(blocks * plan.block_bytes) + ", " + Grouped(blocks) +
                       (blocks == 1 ? " block of " : " blocks of ") +
                       std::to_string(budget.block_size) +
                       (budget.block_size == 1 ? " token" : " tokens"));
  if (plan.max_model_len < budget.max_model_len) {
    plan.notes.push_back("The greatest length of a request is lowered from " +
                         Grouped(budget.max_model_len) + " to " + Grouped(plan.max_model_len) +
                         " tokens, which is what the KV cache holds; the full length takes " +
                         std::to_string(per_request * plan.block_bytes) + " bytes of KV cache");
  }
  return plan;
}

Result<KvMemory> KvMemory::Allocate(const std::vector<AttentionSpec>& layers, const KvPlan& plan,
                                    int32_t block_size, Device* device) {
  int64_t bytes = 0;
  for (const AttentionSpec& spec : layers) {
    bytes += RoundUp(LayerBytes(spec, plan.num_blocks, block_size), kAlignment);
  }
  auto buffer = device->Allocate(bytes, MemoryKind::kDevice);
  if (!buffer.ok()) {
    return OutOfMemory("There is no device memory of " + Size(bytes) +
                       " for the KV cache; give it fewer bytes, or lower the greatest length: " +
                       buffer.error().message);
  }
  KvMemory memory;
  memory.memory_ = std::move(buffer).value();
  std::byte* next = memory.memory_.As<std::byte>();
  for (const AttentionSpec& spec : layers) {
    memory.layers_.push_back(
        MakeKvCache(ShapeOf(spec, plan.num_blocks, block_size), spec.cache_dtype, next));
    next += RoundUp(LayerBytes(spec, plan.num_blocks, block_size), kAlignment);
  }
  return memory;
}

}  // namespace tessera
