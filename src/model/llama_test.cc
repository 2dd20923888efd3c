// Loading and running of the Llama family over operations in their plainest form.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <string>

#include "model/model.h"
#include "model/safetensors.h"
#include "model/testing/prompt_logits.h"
#include "model/testing/safetensors_builder.h"
#include "model/testing/slow_ops.h"
#include "tessera/registry.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kHidden = 8, kInner = 12, kVocab = 11, kHeads = 2, kKvHeads = 1, kHeadSize = 6;

std::string Config(const std::string& more = "") {
  return "{" + more + (more.empty() ? "" : ",") +
         R"("architectures":["LlamaForCausalLM"],"vocab_size":11,"hidden_size":8,
            "intermediate_size":12,"num_hidden_layers":2,"num_attention_heads":2,
            "num_key_value_heads":1,"head_dim":6,"max_position_embeddings":64})";
}

using Shapes = std::map<std::string, std::vector<int64_t>>;

Shapes LlamaShapes(bool tied, bool bias) {
  Shapes shapes = {{"model.embed_tokens.weight", {kVocab, kHidden}},
                   {"model.norm.weight", {kHidden}}};
  if (!tied) shapes["lm_head.weight"] = {kVocab, kHidden};
  const std::map<std::string, std::vector<int64_t>> matrices = {
      {"self_attn.q_proj", {kHeads * kHeadSize, kHidden}},
      {"self_attn.k_proj", {kKvHeads * kHeadSize, kHidden}},
      {"self_attn.v_proj", {kKvHeads * kHeadSize, kHidden}},
      {"self_attn.o_proj", {kHidden, kHeads * kHeadSize}},
      {"mlp.gate_proj", {kInner, kHidden}},
      {"mlp.up_proj", {kInner, kHidden}},
      {"mlp.down_proj", {kHidden, kInner}}};
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    shapes[std::string(layer) + "input_layernorm.weight"] = {kHidden};
    shapes[std::string(layer) + "post_attention_layernorm.weight"] = {kHidden};
    for (const auto& [name, shape] : matrices) {
      shapes[layer + name + ".weight"] = shape;
      if (bias) shapes[layer + name + ".bias"] = {shape[0]};
    }
  }
  return shapes;
}

// Multiples of 1/64 within +-1: exact in every weight type.
std::vector<float> Values(const std::string& name, const std::vector<int64_t>& shape) {
  std::mt19937 random(static_cast<uint32_t>(std::hash<std::string>()(name)));
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = (static_cast<float>(random() % 129) - 64.0f) / 64.0f;
  return values;
}

void WriteModel(const TempDir& dir, const std::string& config, const Shapes& shapes,
                DType dtype = DType::kBFloat16, size_t spaces = 0) {
  SafetensorsBuilder builder;
  for (const auto& [name, shape] : shapes) {
    builder.AddValues(name, dtype, shape, Values(name, shape));
  }
  WriteFile(dir / "config.json", config);
  WriteFile(dir / "model.safetensors", builder.Build(spaces));
}

class LlamaTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<Model>> Load(const ModelOptions& options = {.dtype = DType::kFloat32}) {
    ModelOptions small = options;
    small.max_batch_tokens = small.max_logit_rows = 32;
    return LoadModel(dir_.path().string(), device_.get(), &ops_, small);
  }

  std::string LoadError() {
    const auto model = Load();
    return model.ok() ? "" : model.error().message;
  }

  // Logits of the prompt's last `wanted` tokens.
  std::vector<float> Run(std::vector<int32_t> prompt, int32_t wanted = -1) {
    const auto model = Load();
    EXPECT_TRUE(model.ok()) << model.error().message;
    if (!model.ok()) return {};
    auto backend = Reference(**model);
    if (backend == nullptr) return {};
    auto logits =
        PromptLogits(model->get(), backend.get(), device_.get(), &ops_, 32).Step(prompt, wanted);
    EXPECT_TRUE(logits.ok());
    return logits.ok() ? *logits : std::vector<float>{};
  }

  std::unique_ptr<Backend> Reference(const Model& model) {
    auto selection = SelectBackend({"reference", model.layer_specs()[0], 4}, context_);
    EXPECT_TRUE(selection.ok()) << selection.error().message;
    return selection.ok() ? std::move(selection->backend) : nullptr;
  }

  TempDir dir_{"llama"};
  std::unique_ptr<Device> device_ = CreateFencedDevice();
  std::unique_ptr<Stream> stream_ = std::move(device_->NewStream()).value();
  SlowOps ops_{stream_.get()};
  ThreadPool threads_{{1, false, 0}};
  BackendContext context_{device_.get(), &threads_};
};

TEST_F(LlamaTest, HasASpecForEveryLayer) {
  WriteModel(dir_, Config(), LlamaShapes(false, false));
  const auto model = Load({.dtype = DType::kBFloat16});
  ASSERT_TRUE(model.ok()) << model.error().message;
  ASSERT_EQ((*model)->layer_specs().size(), 2u);
  const AttentionSpec& spec = (*model)->layer_specs()[1];
  EXPECT_EQ(spec.num_heads, 2);
  EXPECT_EQ(spec.num_kv_heads, 1);
  EXPECT_EQ(spec.head_size, 6);
  EXPECT_EQ(spec.query_dtype, DType::kFloat32);
  EXPECT_EQ(spec.cache_dtype, DType::kBFloat16);
  EXPECT_EQ(spec.window_left, -1);
  EXPECT_GT((*model)->weight_bytes(), 0);
}

TEST_F(LlamaTest, AWindowOfThreeKeysSeesTwoToTheLeft) {
  WriteModel(dir_, Config(R"("architectures":["MistralForCausalLM"],"sliding_window":3)"),
             LlamaShapes(false, false));
  const auto model = Load();
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ((*model)->layer_specs()[0].window_left, 2);
}

TEST_F(LlamaTest, WeightTypesAndAlignmentDoNotMatter) {
  const std::vector<int32_t> prompt = {1, 5, 10, 0, 3, 3, 9};
  const Shapes shapes = LlamaShapes(false, true);
  const std::string config = Config(R"("attention_bias":true,"mlp_bias":true)");
  WriteModel(dir_, config, shapes);
  const std::vector<float> expected = Run(prompt);
  ASSERT_EQ(expected.size(), prompt.size() * kVocab);
  for (float logit : expected) EXPECT_TRUE(std::isfinite(logit));
  for (DType dtype : {DType::kBFloat16, DType::kFloat16, DType::kFloat32}) {
    for (size_t spaces : {0, 1, 2, 3}) {
      WriteModel(dir_, config, shapes, dtype, spaces);
      EXPECT_EQ(Run(prompt), expected) << ToString(dtype) << " " << spaces;
    }
  }
}

TEST_F(LlamaTest, OnlyTheWantedRowsAreWritten) {
  WriteModel(dir_, Config(R"("tie_word_embeddings":true)"), LlamaShapes(true, false));
  const std::vector<int32_t> prompt = {1, 5, 10, 0, 3};
  const std::vector<float> all = Run(prompt);
  const std::vector<float> last_two = Run(prompt, 2);
  ASSERT_EQ(last_two.size(), 2u * kVocab);
  EXPECT_EQ(last_two, std::vector<float>(all.end() - 2 * kVocab, all.end()));
  EXPECT_TRUE(Run(prompt, 0).empty());
}

TEST_F(LlamaTest, KeysAreKeptWhereNoLogitsAreWanted) {
  WriteModel(dir_, Config(), LlamaShapes(false, false));
  const std::vector<int32_t> prompt = {1, 5, 10, 0, 3};
  const std::vector<float> whole = Run(prompt, 1);
  const auto model = Load();
  ASSERT_TRUE(model.ok());
  auto backend = Reference(**model);
  ASSERT_NE(backend, nullptr);
  PromptLogits steps(model->get(), backend.get(), device_.get(), &ops_, 32);
  ASSERT_TRUE(steps.Step(std::span(prompt).first(4), 0).ok());
  const auto logits = steps.Step(std::span(prompt).subspan(4), 1);
  ASSERT_TRUE(logits.ok());
  for (size_t i = 0; i < whole.size(); ++i) EXPECT_NEAR((*logits)[i], whole[i], 1e-4);
}

TEST_F(LlamaTest, TiedWeightsAreHeldOnce) {
  WriteModel(dir_, Config(R"("tie_word_embeddings":true)"), LlamaShapes(true, false));
  const auto tied = Load();
  ASSERT_TRUE(tied.ok()) << tied.error().message;
  WriteModel(dir_, Config(), LlamaShapes(false, false));
  const auto untied = Load();
  ASSERT_TRUE(untied.ok()) << untied.error().message;
  // SlowOps keeps matrices in float32 with a bias.
  EXPECT_EQ((*untied)->weight_bytes() - (*tied)->weight_bytes(), kVocab * (kHidden + 1) * 4);
}

TEST_F(LlamaTest, ReportsProgress) {
  WriteModel(dir_, Config(), LlamaShapes(false, false));
  int64_t last = 0, total = 0;
  ModelOptions options;
  options.progress = [&](int64_t done, int64_t all) {
    EXPECT_GT(done, last);
    last = done;
    total = all;
  };
  ASSERT_TRUE(Load(options).ok());
  EXPECT_EQ(last, total);
  EXPECT_GT(total, 0);
}

TEST_F(LlamaTest, EveryMissingTensorIsNamed) {
  const Shapes shapes = LlamaShapes(false, true);
  for (const auto& [name, shape] : shapes) {
    Shapes fewer = shapes;
    fewer.erase(name);
    WriteModel(dir_, Config(R"("attention_bias":true,"mlp_bias":true)"), fewer);
    EXPECT_THAT(LoadError(), HasSubstr("lacks the tensor \"" + name + "\""));
  }
}

TEST_F(LlamaTest, EveryWrongShapeIsNamed) {
  const Shapes shapes = LlamaShapes(false, true);
  for (const auto& [name, shape] : shapes) {
    Shapes wrong = shapes;
    ++wrong[name].back();
    WriteModel(dir_, Config(R"("attention_bias":true,"mlp_bias":true)"), wrong);
    const std::string error = LoadError();
    EXPECT_THAT(error,
                HasSubstr("tensor \"" + name + "\" has the shape " + ShapeToString(wrong[name]) +
                          ", but config.json asks for " + ShapeToString(shape)));
  }
}

TEST_F(LlamaTest, ABiasThatTheConfigurationDoesNotNameIsRefused) {
  WriteModel(dir_, Config(), LlamaShapes(false, true));
  EXPECT_THAT(LoadError(), HasSubstr("asks for no bias there"));
}

TEST_F(LlamaTest, OtherTypesAreRefused) {
  WriteFile(dir_ / "config.json", Config());
  WriteFile(dir_ / "model.safetensors",
            SafetensorsBuilder()
                .Add("model.embed_tokens.weight", "F64", {kVocab, kHidden},
                     std::string(kVocab * kHidden * 8, '\0'))
                .Build());
  EXPECT_THAT(LoadError(), HasSubstr("is of type F64; weights of F32, F16 and BF16"));
}

TEST_F(LlamaTest, LimitsAreChecked) {
  WriteModel(dir_, Config(), LlamaShapes(false, false));
  EXPECT_FALSE(Load({.dtype = DType::kFloat32, .max_model_len = 65}).ok());
  EXPECT_FALSE(Load({.dtype = DType::kFloat32, .max_model_len = -1}).ok());
  EXPECT_FALSE(Load({.dtype = DType::kInt8}).ok());
  const auto model = Load({.dtype = DType::kFloat32, .max_model_len = 5});
  ASSERT_TRUE(model.ok()) << model.error().message;
  auto backend = Reference(**model);
  ASSERT_NE(backend, nullptr);
  PromptLogits steps(model->get(), backend.get(), device_.get(), &ops_, 32);
  const auto logits = steps.Step(std::vector<int32_t>{1, 2, 3, 4, 5, 6});
  ASSERT_FALSE(logits.ok());
  EXPECT_THAT(logits.error().message, HasSubstr("6 tokens is longer"));
}

}  // namespace
}  // namespace tessera
