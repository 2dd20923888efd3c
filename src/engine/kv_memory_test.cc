#include "engine/kv_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace tessera {
namespace {

// 2 * (4 + 4) elements for a token.
AttentionSpec Layer(DType dtype = DType::kFloat32, int32_t value_size = 0) {
  AttentionSpec spec;
  spec.num_heads = 4;
  spec.num_kv_heads = 2;
  spec.head_size = 4;
  spec.head_size_v = value_size;
  spec.cache_dtype = dtype;
  return spec;
}

KvBudget Budget(int64_t bytes, int64_t available, int64_t max_model_len = 100) {
  KvBudget budget;
  budget.kv_cache_bytes = bytes;
  budget.available_bytes = available;
  budget.max_model_len = max_model_len;
  budget.max_running = 3;
  return budget;
}

TEST(KvMemory, PlansWhatFits) {
  constexpr int64_t kBlock = 3 * 16 * 64;  // three layers, 16 tokens of 16 floats
  const std::vector<AttentionSpec> layers(3, Layer());
  struct Case {
    KvBudget budget;
    int32_t blocks;
    int64_t max_model_len;
  };
  const Case cases[] = {
      {Budget(0, 1 << 30), 21, 100},  // 3 requests of 7 blocks
      {Budget(0, 0), 21, 100},        // no word about the memory
      {Budget(0, (10 * kBlock + 3 * 4096) * 5 / 4 + 5), 10, 100},
      {Budget(0, (4 * kBlock + 3 * 4096) * 5 / 4 + 5), 4, 64},
      {Budget(1000 * kBlock, 1 << 30), 1000, 100},
      {Budget(7 * kBlock, 1 << 30), 7, 100},
      {Budget(7 * kBlock - 1, 1 << 30), 6, 96},
      {Budget(kBlock, 0), 1, 16},
  };
  for (const Case& c : cases) {
    const auto plan = PlanKvMemory(layers, c.budget);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    EXPECT_EQ(plan->block_bytes, kBlock);
    EXPECT_EQ(plan->num_blocks, c.blocks);
    EXPECT_EQ(plan->max_model_len, c.max_model_len);
    EXPECT_EQ(plan->notes.size(), c.max_model_len < 100 ? 2u : 1u);
  }
}

TEST(KvMemory, ErrorsNameTheNumberThatFits) {
  AttentionSpec sharing = Layer();
  sharing.shares_kv = true;
  AttentionSpec scaled = Layer(DType::kE4M3FN);
  scaled.kv_scales = ScaleMode::kPerTensor;
  struct Case {
    std::vector<AttentionSpec> layers;
    KvBudget budget;
    ErrorCode code;
    const char* message;
  };
  const Case cases[] = {
      {{Layer()},
       Budget(1023, 1 << 30),
       ErrorCode::kOutOfMemory,
       "give it at least 1024 bytes (7168 for a request of the model's full length)"},
      {{Layer()},
       Budget(1 << 20, 500000),
       ErrorCode::kOutOfMemory,
       "1 MiB is more than the 488.3 KiB of memory that are available; give it at most 400000"},
      {{Layer()}, Budget(0, 100), ErrorCode::kOutOfMemory, "give it at least 1024 bytes"},
      {{Layer(), sharing}, Budget(0, 0), ErrorCode::kUnsupported, "share another layer's"},
      {{scaled}, Budget(0, 0), ErrorCode::kUnsupported, "scales"},
  };
  for (const Case& c : cases) {
    const auto plan = PlanKvMemory(c.layers, c.budget);
    ASSERT_FALSE(plan.ok()) << c.message;
    EXPECT_EQ(plan.error().code, c.code);
    EXPECT_THAT(plan.error().message, testing::HasSubstr(c.message));
  }
}

TEST(KvMemory, ABlockOfOneTokenIsTooShortForARequest) {
  KvBudget budget = Budget(64, 0);
  budget.block_size = 1;
  EXPECT_FALSE(PlanKvMemory({Layer()}, budget).ok());
  budget.kv_cache_bytes = 128;
  EXPECT_TRUE(PlanKvMemory({Layer()}, budget).ok());
}

TEST(KvMemory, LayersDoNotOverlap) {
  const std::vector<AttentionSpec> layers = {Layer(), Layer(DType::kBFloat16, 3), Layer()};
  KvBudget budget = Budget(100000, 0);
  budget.block_size = 5;
  const auto plan = PlanKvMemory(layers, budget);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->block_bytes, 5 * (64 + 28 + 64));
  const std::unique_ptr<Device> device = CreateCpuDevice();
  const auto memory = KvMemory::Allocate(layers, *plan, 5, device.get());
  ASSERT_TRUE(memory.ok());
  ASSERT_EQ(memory->layers().size(), 3u);
  const char* end = nullptr;
  for (size_t i = 0; i < layers.size(); ++i) {
    const KvCache& cache = memory->layers()[i];
    EXPECT_EQ(cache.num_blocks, plan->num_blocks);
    EXPECT_EQ(cache.block_size, 5);
    EXPECT_EQ(cache.dtype, layers[i].cache_dtype);
    const char* data = static_cast<const char*>(cache.data);
    if (end != nullptr) {
      EXPECT_GE(data, end);
    }
    end = data + cache.num_blocks * cache.block_stride * static_cast<int64_t>(SizeOf(cache.dtype));
  }
}

}  // namespace
}  // namespace tessera
