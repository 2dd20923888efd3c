#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "model/testing/safetensors_builder.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A complete configuration, with further or replaced fields: simdjson finds the first of two equal
// keys.
std::string Config(const std::string& fields = "") {
  return "{" + fields + (fields.empty() ? "" : ",") +
         R"("architectures":["LlamaForCausalLM"],"vocab_size":320,"hidden_size":64,
            "intermediate_size":160,"num_hidden_layers":4,"num_attention_heads":4,
            "max_position_embeddings":4096})";
}

ModelConfig Parsed(const std::string& json, const std::string& generation = "") {
  const Result<ModelConfig> config = ParseModelConfig(json, generation);
  EXPECT_TRUE(config.ok()) << config.error().message;
  return config.ok() ? *config : ModelConfig{};
}

TEST(ModelConfig, FillsInWhatOldFilesLack) {
  const ModelConfig config = Parsed(Config());
  EXPECT_EQ(config.architecture, "LlamaForCausalLM");
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_size, 16);
  EXPECT_EQ(config.rms_norm_eps, 1e-6f);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_EQ(config.rope.type, RopeType::kDefault);
  EXPECT_EQ(config.rope.theta, 10000.0);
  EXPECT_EQ(config.rope.original_max_position_embeddings, 4096);
  EXPECT_EQ(config.bos_token_id, -1);
  EXPECT_EQ(config.dtype, DType::kBFloat16);
  EXPECT_THAT(config.eos_token_ids, IsEmpty());
}

TEST(ModelConfig, NullCountsAsAbsent) {
  const ModelConfig config = Parsed(
      Config(R"("num_key_value_heads":null,"head_dim":null,"rope_scaling":null,"eos_token_id":null,
                "bos_token_id":null,"sliding_window":null,"rope_parameters":null,"dtype":null,
                "quantization_config":null,"layer_types":null)"));
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_size, 16);
}

TEST(ModelConfig, MergesTheStopTokensOfBothFiles) {
  EXPECT_THAT(Parsed(Config(R"("eos_token_id":7)")).eos_token_ids, ElementsAre(7));
  EXPECT_THAT(Parsed(Config(R"("eos_token_id":[9,7])"), R"({"eos_token_id":[7,3]})").eos_token_ids,
              ElementsAre(3, 7, 9));
  EXPECT_THAT(Parsed(Config(), R"({"eos_token_id":2,"temperature":0.6})").eos_token_ids,
              ElementsAre(2));
}

TEST(ModelConfig, ReadsBothNamesOfTheType) {
  EXPECT_EQ(Parsed(Config(R"("dtype":"float16")")).dtype, DType::kFloat16);
  EXPECT_EQ(Parsed(Config(R"("torch_dtype":"float32")")).dtype, DType::kFloat32);
  EXPECT_EQ(Parsed(Config(R"("torch_dtype":"torch.float16")")).dtype, DType::kFloat16);
}

TEST(ModelConfig, ReadsRopeInBothForms) {
  const std::string old_form = R"("rope_theta":500000.0,"rope_scaling":{"factor":8.0,
      "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":64,
      "rope_type":"llama3"})";
  const std::string new_form = R"("rope_parameters":{"factor":8.0,"low_freq_factor":1.0,
      "high_freq_factor":4.0,"original_max_position_embeddings":64,"rope_type":"llama3",
      "rope_theta":500000.0})";
  for (const std::string& form : {old_form, new_form}) {
    const RopeConfig rope = Parsed(Config(form)).rope;
    EXPECT_EQ(rope.type, RopeType::kLlama3);
    EXPECT_EQ(rope.theta, 500000.0);
    EXPECT_EQ(rope.factor, 8.0);
    EXPECT_EQ(rope.low_freq_factor, 1.0);
    EXPECT_EQ(rope.high_freq_factor, 4.0);
    EXPECT_EQ(rope.original_max_position_embeddings, 64);
  }
}

TEST(ModelConfig, ReadsTheOlderNameOfTheRopeType) {
  const RopeConfig linear = Parsed(Config(R"("rope_scaling":{"type":"linear","factor":4})")).rope;
  EXPECT_EQ(linear.type, RopeType::kLinear);
  EXPECT_EQ(linear.factor, 4.0);
  const RopeConfig dynamic =
      Parsed(Config(R"("rope_scaling":{"type":"dynamic","factor":2.0})")).rope;
  EXPECT_EQ(dynamic.type, RopeType::kDynamic);
}

TEST(ModelConfig, ReadsYarn) {
  const RopeConfig rope = Parsed(Config(R"("rope_scaling":{"rope_type":"yarn","factor":null,
      "original_max_position_embeddings":1024,"beta_fast":0,"beta_slow":2,"mscale":0.7,
      "mscale_all_dim":0.5,"truncate":false})"))
                              .rope;
  EXPECT_EQ(rope.type, RopeType::kYarn);
  EXPECT_EQ(rope.factor, 4.0) << "max_position_embeddings / original_max_position_embeddings";
  EXPECT_EQ(rope.beta_fast, 32.0);
  EXPECT_EQ(rope.beta_slow, 2.0);
  EXPECT_EQ(rope.mscale, 0.7);
  EXPECT_EQ(rope.mscale_all_dim, 0.5);
  EXPECT_FALSE(rope.truncate);
}

TEST(ModelConfig, MistralHasASlidingWindow) {
  const std::string mistral = R"("architectures":["MistralForCausalLM"])";
  EXPECT_EQ(Parsed(Config(mistral + R"(,"sliding_window":24)")).sliding_window, 24);
  EXPECT_EQ(Parsed(Config(mistral + R"(,"sliding_window":null)")).sliding_window, 0);
}

struct BadConfig {
  const char* name;
  std::string json;
  const char* message;
};

void PrintTo(const BadConfig& c, std::ostream* out) { *out << c.name; }

class HostileConfig : public ::testing::TestWithParam<BadConfig> {};

TEST_P(HostileConfig, IsRefusedWithItsReason) {
  const Result<ModelConfig> config = ParseModelConfig(GetParam().json);
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, HostileConfig,
    ::testing::Values(
        BadConfig{"empty", "", "not valid JSON"}, BadConfig{"list", "[]", "not a JSON object"},
        BadConfig{"cut", R"({"architectures":)", "not valid JSON"},
        BadConfig{"not_utf8", "{\"a\":\"\xff\"}", "not valid JSON"},
        BadConfig{"deep", Config("\"x\":" + std::string(100'000, '[') + std::string(100'000, ']')),
                  "not valid JSON"},
        BadConfig{"no_architecture", "{}", "lacks \"architectures\""},
        BadConfig{"architectures_empty", R"({"architectures":[]})", "lacks \"architectures\""},
        BadConfig{"architectures_a_string", R"({"architectures":"LlamaForCausalLM"})",
                  "lacks \"architectures\""},
        BadConfig{"unknown_architecture", R"({"architectures":["BertModel"]})",
                  "\"BertModel\", which is not supported; supported are LlamaForCausalLM, "
                  "MistralForCausalLM"},
        BadConfig{"lacks_a_size", R"({"architectures":["LlamaForCausalLM"],"vocab_size":10})",
                  "lacks \"hidden_size\""},
        BadConfig{"size_zero", Config(R"("hidden_size":0)"), "outside 1 to"},
        BadConfig{"size_negative", Config(R"("vocab_size":-1)"), "outside 1 to"},
        BadConfig{"size_huge", Config(R"("intermediate_size":9223372036854775807)"), "outside 1"},
        BadConfig{"size_above_int64", Config(R"("hidden_size":18446744073709551615)"),
                  "whole number"},
        BadConfig{"size_a_fraction", Config(R"("hidden_size":64.5)"), "whole number"},
        BadConfig{"size_a_string", Config(R"("hidden_size":"64")"), "whole number"},
        BadConfig{"size_a_bool", Config(R"("num_hidden_layers":true)"), "whole number"},
        BadConfig{"layers_without_number", Config(R"("num_hidden_layers":1000000)"), "outside 1"},
        BadConfig{"heads_not_divisible", Config(R"("num_key_value_heads":3)"), "not a multiple"},
        BadConfig{"more_kv_heads", Config(R"("num_key_value_heads":8)"), "not a multiple"},
        BadConfig{"hidden_not_divisible", Config(R"("hidden_size":65)"), "lacks \"head_dim\""},
        BadConfig{"hidden_below_heads", Config(R"("hidden_size":1,"num_attention_heads":1)"),
                  "odd"},
        BadConfig{"odd_head", Config(R"("head_dim":15)"), "odd"},
        BadConfig{"eps_negative", Config(R"("rms_norm_eps":-1e-6)"), "outside 0 to 1"},
        BadConfig{"eps_a_string", Config(R"("rms_norm_eps":"1e-6")"), "a number"},
        BadConfig{"tied_a_number", Config(R"("tie_word_embeddings":1)"), "true or false"},
        BadConfig{"activation", Config(R"("hidden_act":"gelu")"), "only \"silu\""},
        BadConfig{"quantised", Config(R"("quantization_config":{"bits":4})"), "quantised"},
        BadConfig{"soft_cap", Config(R"("attn_logit_softcapping":50.0)"), "soft-capped"},
        BadConfig{"window_of_llama", Config(R"("sliding_window":4096)"), "sliding_window"},
        BadConfig{"layer_types", Config(R"("layer_types":["full_attention","sliding_attention"])"),
                  "layers of several kinds"},
        BadConfig{"layer_types_a_string", Config(R"("layer_types":"full_attention")"), "a list"},
        BadConfig{"biased_mistral",
                  Config(R"("architectures":["MistralForCausalLM"],"attention_bias":true)"),
                  "biases"},
        BadConfig{"dtype", Config(R"("dtype":"int4")"), "float32, float16 and bfloat16"},
        BadConfig{"eos_negative", Config(R"("eos_token_id":-1)"), "eos_token_id"},
        BadConfig{"eos_in_a_list", Config(R"("eos_token_id":[1,"2"])"), "eos_token_id"},
        BadConfig{"eos_an_object", Config(R"("eos_token_id":{})"), "eos_token_id"},
        BadConfig{"rope_a_list", Config(R"("rope_scaling":[1])"), "must be an object"},
        BadConfig{"rope_unknown", Config(R"("rope_scaling":{"rope_type":"longrope","factor":2})"),
                  "supported are default, linear, dynamic, llama3, yarn"},
        BadConfig{"rope_per_layer_kind",
                  Config(R"("rope_parameters":{"full_attention":{"rope_type":"default"}})"),
                  "each kind of layer"},
        BadConfig{"rope_without_factor", Config(R"("rope_scaling":{"type":"linear"})"),
                  "lacks the \"factor\""},
        BadConfig{"rope_shrinks", Config(R"("rope_scaling":{"type":"linear","factor":0.5})"),
                  "outside 1 to"},
        BadConfig{"theta_zero", Config(R"("rope_theta":0)"), "rope_theta"},
        BadConfig{"theta_huge", Config(R"("rope_theta":1e300)"), "rope_theta"},
        BadConfig{"theta_not_finite", Config(R"("rope_theta":1e999)"), "JSON"},
        BadConfig{"llama3_factors",
                  Config(R"("rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4,
                            "high_freq_factor":4})"),
                  "below \"high_freq_factor\""},
        BadConfig{"yarn_betas", Config(R"("rope_scaling":{"rope_type":"yarn","factor":8,
                            "beta_fast":1,"beta_slow":2})"),
                  "below \"beta_slow\""},
        BadConfig{"yarn_original", Config(R"("rope_scaling":{"rope_type":"yarn","factor":8,
                            "original_max_position_embeddings":0})"),
                  "outside 1"},
        BadConfig{"partial", Config(R"("partial_rotary_factor":1.5)"), "partial_rotary_factor"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(ModelConfig, GenerationConfigSaysHowToSample) {
  const auto config =
      ParseModelConfig(Config(), R"({"temperature": 0.5, "top_p": 0.75, "top_k": 20, "min_p": null,
                    "repetition_penalty": 1.25, "do_sample": true, "eos_token_id": 5})");
  ASSERT_TRUE(config.ok()) << config.error().message;
  const GenerationDefaults& defaults = config->generation;
  EXPECT_EQ(defaults.temperature, 0.5f);
  EXPECT_EQ(defaults.top_p, 0.75f);
  EXPECT_EQ(defaults.top_k, 20);
  EXPECT_EQ(defaults.min_p, std::nullopt);
  EXPECT_EQ(defaults.repetition_penalty, 1.25f);
  EXPECT_EQ(ParseModelConfig(Config(), "{}")->generation.temperature, std::nullopt);
  for (const char* bad : {R"({"temperature": -1})", R"({"top_p": 0})", R"({"top_k": "x"})"}) {
    const auto refused = ParseModelConfig(Config(), bad);
    ASSERT_FALSE(refused.ok()) << bad;
    EXPECT_THAT(refused.error().message, HasSubstr("the generation configuration"));
  }
}

TEST(ModelConfig, BadGenerationConfigIsNamed) {
  const auto config = ParseModelConfig(Config(), "{");
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().message, HasSubstr("the generation configuration"));
}

TEST(LoadModelConfig, NamesTheFile) {
  const TempDir dir("config");
  auto config = LoadModelConfig(dir.path().string());
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(config.error().message, HasSubstr("config.json"));
  WriteFile(dir / "config.json", Config(R"("hidden_size":0)"));
  config = LoadModelConfig(dir.path().string());
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().message, HasSubstr("config.json: \"hidden_size\" is 0"));
  WriteFile(dir / "config.json", Config());
  WriteFile(dir / "generation_config.json", R"({"eos_token_id":5})");
  config = LoadModelConfig(dir.path().string());
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_THAT(config->eos_token_ids, ElementsAre(5));
}

}  // namespace
}  // namespace tessera
