#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "attention/feature_check.h"
#include "tessera/registry.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SelectionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    unsetenv("TESSERA_ATTENTION_BACKEND");
    unsetenv("VLLM_ATTENTION_BACKEND");
    unsetenv("VLLM_ROCM_USE_AITER");
  }
  void TearDown() override { SetUp(); }

  Result<Selection> Select(const std::string& backend) {
    return SelectBackend({.backend = backend, .spec = spec_}, context_);
  }

  // The platform's own backend if this machine has what it needs.
  std::string Best() const {
    for (const BackendEntry& entry : BackendEntries()) {
      if (entry.name == "x86" && entry.probe(device_->info()).ok()) return "x86";
    }
    return "portable";
  }

  AttentionSpec spec_{.num_heads = 8, .num_kv_heads = 2, .head_size = 64};
  // A device that this machine does not have.
  void UseDevice(DeviceKind kind, const std::string& name, const std::string& arch) {
    DeviceInfo info = DetectCpu();
    info.kind = kind;
    info.name = name;
    info.arch = arch;
    device_ = CreateCpuDevice(info);
    context_.device = device_.get();
  }

  std::unique_ptr<Device> device_ = CreateCpuDevice();
  ThreadPool pool_{{.num_threads = 1}};
  BackendContext context_{device_.get(), &pool_};
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
  // On a CPU vLLM has one backend, whatever the name.
  EXPECT_EQ(Select("CPU_ATTN")->backend->Name(), Best());
  EXPECT_THAT(Select("CPU_ATTN")->warnings, IsEmpty());
  for (const char* name : {"TRITON_ATTN", "ROCM_ATTN_VLLM_V1"}) {
    const auto selection = Select(name);
    ASSERT_TRUE(selection.ok());
    EXPECT_EQ(selection->backend->Name(), Best());
    EXPECT_THAT(selection->warnings, ElementsAre(HasSubstr("cannot be had on a CPU")));
  }
  setenv("VLLM_ATTENTION_BACKEND", "TRITON_ATTN_VLLM_V1", 1);
  setenv("VLLM_ROCM_USE_AITER", "1", 1);
  const auto selection = Select("");
  EXPECT_EQ(selection->backend->Name(), Best());
  EXPECT_THAT(selection->warnings, ElementsAre(HasSubstr("TRITON_ATTN_VLLM_V1"),
                                               HasSubstr("VLLM_ROCM_USE_AITER has an effect")));
  // Tessera's own words outweigh vLLM's.
  EXPECT_EQ(Select("reference")->backend->Name(), "reference");
  setenv("TESSERA_ATTENTION_BACKEND", "reference", 1);
  EXPECT_EQ(Select("")->backend->Name(), "reference");
  unsetenv("TESSERA_ATTENTION_BACKEND");
  setenv("VLLM_ATTENTION_BACKEND", "reference", 1);
  EXPECT_THAT(Select("").error().message, HasSubstr("not one of vLLM's names"));
}

TEST_F(SelectionTest, VllmNamesOfBackendsThatThisBuildLacks) {
  UseDevice(DeviceKind::kHip, "AMD Instinct MI300X", "gfx942");
  auto selection = Select("ROCM_ATTN");
  ASSERT_FALSE(selection.ok());
  EXPECT_EQ(selection.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(selection.error().message, HasSubstr("'ROCM_ATTN' means rocm, which this build"));
  setenv("VLLM_ATTENTION_BACKEND", "ROCM_ATTN", 1);
  EXPECT_THAT(Select("").error().message, HasSubstr("'rocm'"));
  EXPECT_THAT(Select("TRITON_ATTN").error().message, HasSubstr("'portable' cannot serve"));
}

TEST_F(SelectionTest, ByPhase) {
  auto selection = Select("prefill=portable,decode=reference");
  ASSERT_TRUE(selection.ok()) << selection.error().message;
  EXPECT_EQ(selection->backend->Name(), "prefill=portable,decode=reference");
  EXPECT_EQ(selection->candidates.front().name, "portable");
  EXPECT_EQ(selection->decode_candidates.front().name, "reference");
  EXPECT_EQ(selection->decode_candidates.size(), BackendEntries().size());
  EXPECT_THAT(selection->Explain(), HasSubstr("prefill: portable | "));
  EXPECT_THAT(selection->Explain(), HasSubstr("; decode: reference | "));
  EXPECT_THAT(selection->Explain(), HasSubstr("portable: usable, faster"));

  selection = Select("decode=reference");
  EXPECT_EQ(selection->backend->Name(), "prefill=" + Best() + ",decode=reference");
  EXPECT_EQ(Select("prefill=portable,decode=portable")->backend->Name(), "portable");
  setenv("TESSERA_ATTENTION_BACKEND", "portable,decode=reference", 1);
  EXPECT_EQ(Select("")->backend->Name(), "prefill=portable,decode=reference");

  spec_.batch_invariant = true;
  EXPECT_THAT(Select("prefill=portable,decode=reference").error().message,
              HasSubstr("batch invariance"));
  EXPECT_TRUE(Select("prefill=portable,decode=portable").ok());
}

TEST_F(SelectionTest, ByKindOfLayer) {
  EXPECT_EQ(Select("portable,sliding=reference")->backend->Name(), "portable");
  spec_.window_left = 100;
  EXPECT_EQ(Select("portable,sliding=reference")->backend->Name(), "reference");
  EXPECT_EQ(Select("decode=portable,sliding=reference")->backend->Name(), "reference");
  EXPECT_EQ(Select("portable,sliding/decode=reference")->backend->Name(),
            "prefill=portable,decode=reference");
}

TEST_F(SelectionTest, ErrorsOfListsNameTheirItem) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"decode=flash", "'flash' is unknown to this build; it has auto, "},
      {"decod=portable", "'decod=portable' begins with no phase"},
      {"portable,", "names no backend"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(Select(c.text).error().message, HasSubstr(c.message)) << c.text;
  }
  spec_.head_size = 5000;
  EXPECT_THAT(Select("decode=portable,prefill=reference").error().message,
              HasSubstr("cannot serve the prefill of"));
  EXPECT_THAT(Select("decode=auto").error().message, HasSubstr("no attention backend"));
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
  EXPECT_TRUE(RefusalReasons(FeatureSet::All(), spec_, 1).empty());
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
  UseDevice(DeviceKind::kHip, "AMD Instinct MI300X", "gfx942");
  auto selection = Select("auto");
  ASSERT_FALSE(selection.ok());
  EXPECT_THAT(selection.error().message, HasSubstr("MI300X"));
}

TEST_F(SelectionTest, WhatTheProbeRefusesIsNotCreated) {
  int created = 0;
  const auto create = [&](const BackendContext&) -> Result<std::unique_ptr<Backend>> {
    ++created;
    return Unsupported("its module does not load");
  };
  const SelectionRequest request{
      .backend = "auto",
      .spec = spec_,
      .plugins = {
          {"refused", "", [](const DeviceInfo&) { return Support{{"no such GPU"}}; }, create},
          {"broken", "", [](const DeviceInfo&) { return Support(); }, create}}};
  const auto selection = SelectBackend(request, context_);
  ASSERT_TRUE(selection.ok()) << selection.error().message;
  EXPECT_EQ(created, 1);
  EXPECT_THAT(selection->Explain(), HasSubstr("refused: no, no such GPU"));
  EXPECT_THAT(selection->Explain(), HasSubstr("broken: no, its module does not load"));
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
