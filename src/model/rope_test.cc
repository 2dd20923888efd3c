#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/testing/source_path.h"
#include "model/config.h"

namespace tessera {
namespace {

using Json = nlohmann::json;

// The record is computed in float64, the table as transformers does it in float32: where yarn and
// llama3 mix two frequencies, some units in the last place are lost.
constexpr double kRelative = 3e-6;

Json Oracle() {
  std::ifstream file(testing::SourcePath("tests/oracles/rope.json"));
  return Json::parse(file, nullptr, false);
}

ModelConfig ConfigOf(const Json& test_case) {
  const Json json = {{"architectures", {"LlamaForCausalLM"}},
                     {"vocab_size", 10},
                     {"hidden_size", 64},
                     {"intermediate_size", 64},
                     {"num_hidden_layers", 1},
                     {"num_attention_heads", 1},
                     {"head_dim", test_case["head_size"]},
                     {"max_position_embeddings", test_case["max_position_embeddings"]},
                     {"rope_parameters", test_case["rope_parameters"]}};
  const Result<ModelConfig> config = ParseModelConfig(json.dump());
  EXPECT_TRUE(config.ok()) << config.error().message;
  return config.ok() ? *config : ModelConfig{};
}

TEST(Rope, AgreesWithRecordedValues) {
  const Json oracle = Oracle();
  ASSERT_FALSE(oracle.is_discarded()) << "tests/oracles/rope.json must be readable";
  for (const Json& test_case : oracle["cases"]) {
    SCOPED_TRACE(test_case["name"].get<std::string>());
    const ModelConfig config = ConfigOf(test_case);
    const int64_t max_len = test_case["max_model_len"];
    const int32_t size = RotarySize(config.rope, config.head_size);
    ASSERT_EQ(size, test_case["rotary_size"]);
    EXPECT_GE(MaxSupportedLength(config.rope, config.max_position_embeddings), max_len);
    const RopeFrequencies frequencies =
        ComputeRopeFrequencies(config.rope, size, config.max_position_embeddings, max_len);
    EXPECT_NEAR(frequencies.attention_factor, test_case["attention_factor"].get<double>(), 1e-6);
    ASSERT_EQ(frequencies.inverse.size(), static_cast<size_t>(size / 2));
    for (size_t i = 0; i < frequencies.inverse.size(); ++i) {
      const double expected = test_case["inverse"][i];
      EXPECT_NEAR(frequencies.inverse[i], expected, kRelative * expected) << "pair " << i;
    }
    const std::unique_ptr<Device> device = CreateFencedDevice();
    const std::unique_ptr<Stream> stream = std::move(device->NewStream()).value();
    DeviceRope rope(config, max_len);
    ASSERT_TRUE(rope.Allocate(*device).ok());
    for (size_t p = 0; p < test_case["cos"].size(); ++p) {
      const int64_t position = oracle["positions"][p];
      rope.Fill(position + 1, *stream);
      const RopeTable table = rope.table();
      ASSERT_LT(position, table.max_positions);
      ASSERT_EQ(table.rotary_size, size);
      const HostAccess access(*stream);
      for (int32_t i = 0; i < size / 2; ++i) {
        const double angle = static_cast<double>(position) * test_case["inverse"][i].get<double>();
        const double tolerance = 1e-6 + kRelative * angle;
        const int64_t at = position * (size / 2) + i;
        EXPECT_NEAR(table.cos[at], test_case["cos"][p][i].get<double>(), tolerance);
        EXPECT_NEAR(table.sin[at], test_case["sin"][p][i].get<double>(), tolerance);
      }
    }
  }
}

TEST(DeviceRope, GrowsToTheLastPositionAtTheSameAddresses) {
  ModelConfig config;
  config.head_size = 4;
  config.max_position_embeddings = 5000;
  const std::unique_ptr<Device> device = CreateCpuDevice();
  const std::unique_ptr<Stream> stream = std::move(device->NewStream()).value();
  DeviceRope rope(config, 5000);
  ASSERT_TRUE(rope.Allocate(*device).ok());
  rope.Fill(1, *stream);
  const RopeTable first = rope.table();
  const float before = first.cos[2 * 0 + 1];
  rope.Fill(5000, *stream);
  const RopeTable all = rope.table();
  EXPECT_EQ(all.max_positions, 5000);
  EXPECT_EQ(all.cos, first.cos);
  EXPECT_EQ(all.cos[1], before);
  EXPECT_FLOAT_EQ(all.cos[2 * 4999], std::cos(4999.0f));
  DeviceRope tiny(config, 1);
  ASSERT_TRUE(tiny.Allocate(*device).ok());
  tiny.Fill(1, *stream);
  EXPECT_EQ(tiny.table().max_positions, 1);
}

}  // namespace
}  // namespace tessera
