#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "attention/feature_check.h"
#include "attention/vllm_names.h"
#include "tessera/registry.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

class SelectionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    unsetenv("TESSERA_ATTENTION_BACKEND");
    unsetenv("VLLM_ATTENTION_BACKEND");
  }
  void TearDown() override { SetUp(); }

  Result<Selection> Select(const std::string& backend) {
    return SelectBackend({.backend = backend, .spec = spec_}, context_);
  }

  // The platform's own backend where this machine has what it needs.
  std::string Best() const {
    for (const BackendEntry& entry : BackendEntries()) {
      if (entry.name == "x86" && entry.create(context_)->Probe(context_.device).ok()) return "x86";
    }
    return "portable";
  }

  AttentionSpec spec_{.num_heads = 8, .num_kv_heads = 2, .head_size = 64};
  ThreadPool pool_{{.num_threads = 1}};
  BackendContext context_{DetectCpu(), &pool_};
};

TEST_F(SelectionTest, AutoTakesTheCheapestAndNamesTheOthers) {
  auto selection = Select("");
  ASSERT_TRUE(selection.ok());
  EXPECT_EQ(selection->backend->Name(), Best());
  EXPECT_EQ(selection->candidates.size(), BackendEntries().size());
  EXPECT_THAT(selection->Explain(), HasSubstr("reference: usable, slower"));
}

TEST_F(SelectionTest, ExplicitNameThenVariableThenAuto) {
  setenv("TESSERA_ATTENTION_BACKEND", "reference", 1);
  EXPECT_EQ(Select("")->backend->Name(), "reference");
  EXPECT_EQ(Select("portable")->backend->Name(), "portable");
  EXPECT_EQ(Select("auto")->backend->Name(), Best());
}

TEST_F(SelectionTest, UnderstandsVllmNames) {
  EXPECT_EQ(Select("TRITON_ATTN")->backend->Name(), "portable");
  EXPECT_EQ(Select("CPU_ATTN")->backend->Name(), Best());
  setenv("VLLM_ATTENTION_BACKEND", "TRITON_ATTN_VLLM_V1", 1);
  EXPECT_EQ(Select("")->backend->Name(), "portable");
  EXPECT_EQ(FromVllmName("ROCM_ATTN_VLLM_V1"), "rocm");
  EXPECT_EQ(FromVllmName("something"), "something");
}

TEST_F(SelectionTest, UnknownNameListsTheKnownOnes) {
  auto selection = Select("flash");
  ASSERT_FALSE(selection.ok());
  EXPECT_EQ(selection.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(selection.error().message, HasSubstr("'flash'"));
  EXPECT_THAT(selection.error().message, HasSubstr(BackendNames()));
}

TEST_F(SelectionTest, ExplicitChoiceThatCannotServeListsEveryReason) {
  spec_.head_size = 2000;
  spec_.head_size_v = 3000;
  auto selection = Select("portable");
  ASSERT_FALSE(selection.ok());
  EXPECT_EQ(selection.error().code, ErrorCode::kUnsupported);
  for (const char* reason : {"head size 2000", "head size 3000"}) {
    EXPECT_THAT(selection.error().message, HasSubstr(reason));
  }
}

TEST_F(SelectionTest, ABackendWithoutFeaturesRefusesEachByName) {
  spec_.causality = Causality::kPerRequest;
  spec_.window_left = 4;
  spec_.chunk_size = 128;
  spec_.soft_cap = 1.0f;
  spec_.alibi = Alibi::kSqrt;
  spec_.sinks = true;
  spec_.query_query_bias = true;
  spec_.prefix_ranges = true;
  spec_.type = AttentionType::kEncoder;
  spec_.kv_scales = ScaleMode::kPerHead;
  spec_.fp8_output_scale = true;
  spec_.head_size_v = 32;
  FeatureSet none;
  none.differing_value_size = false;
  EXPECT_EQ(RefusalReasons(none, spec_, 0).size(), 16u);  // with three types and the block size
}

TEST_F(SelectionTest, NobodyCanServe) {
  spec_.head_size = 5000;
  auto selection = Select("auto");
  ASSERT_FALSE(selection.ok());
  for (const BackendEntry& entry : BackendEntries()) {
    EXPECT_THAT(selection.error().message, HasSubstr(entry.name + ": "));
  }
}

TEST_F(SelectionTest, ForeignDevice) {
  context_.device.kind = DeviceKind::kHip;
  context_.device.name = "AMD Instinct MI300X";
  auto selection = Select("auto");
  ASSERT_FALSE(selection.ok());
  EXPECT_THAT(selection.error().message, HasSubstr("MI300X"));
}

TEST_F(SelectionTest, SenselessSpecIsRefused) {
  spec_.num_heads = 7;
  auto selection = Select("auto");
  ASSERT_FALSE(selection.ok());
  EXPECT_EQ(selection.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(SelectionTest, WarnsAboutMisspelledVariables) {
  setenv("TESSERA_ATENTION_BACKEND", "reference", 1);
  EXPECT_THAT(Select("auto")->warnings, ::testing::Contains(HasSubstr("TESSERA_ATENTION_BACKEND")));
  unsetenv("TESSERA_ATENTION_BACKEND");
}

}  // namespace
}  // namespace tessera
